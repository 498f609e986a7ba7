import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../../database.js';
import { usualGuard } from '../../events/facts.js';
import { letsPass, whyHeld } from '../../projections/guard.js';
import type { CartDirectory, ReachableCart } from '../cart-directory.js';
import { CartError } from '../connectors/cart-error.js';
import { databaseNow } from '../database-clock.js';
import { addDoubledKeys, keepDoubledKeys } from '../doubled-keys.js';
import type { MetKeys } from '../new-keys.js';
import { checkoutPauseMs, type OrderImport, type PollResult } from '../order-import.js';
import type { QohTransfer } from '../qoh-transfer.js';
import type { DoubledKeys } from '../read-cart.js';
import { isWhole, leftOf, namedKeys, readGroups, unseenOf, type ListingGroup } from './listing-groups.js';
import { differencesOf } from './look-at-cart.js';
import { directionOf, makeEqual } from './make-equal.js';
import type { QohRunState, StoredQohRun } from './qoh-runs.table.js';
import { untilRoom } from './run-pace.js';
import * as states from './run-states.js';

/** Readings by name of what was too busy, before the lane is held for the rest. */
const roundsMax = 3;
/** With a held lane so many at once. */
const heldKeys = 500;
const cancelPollMs = 250;
const looksMax = 3;

/**
 * Brings one Send or Get run as far as it goes, from wherever a process that died left it.
 *
 * What has been done stands in the listings: one whose baseline is younger than the phase is equal. So nothing is kept but
 * counters, one group of rows is in memory, and whoever goes on after a crash reads again and skips what is done.
 */
export class QohRunWork {
  private readonly database: Database;

  constructor(
    private readonly dependencies: {
      readonly database: Database;
      readonly directory: CartDirectory;
      readonly orderImport: OrderImport;
      readonly qohTransfer: QohTransfer;
    },
  ) {
    this.database = dependencies.database;
  }

  /**
   * @param stopping asked now and then; true: leave it as it is, another worker goes on
   * @returns the state in which it was left; null: there is no such run
   * @throws what the cart or the database threw; the run says so, too
   */
  async run(id: string, stopping: () => boolean = () => false): Promise<QohRunState | null> {
    const found = await states.findRun(this.database, id);
    if (found?.state === 'held') await states.takeDecision(this.database, found);
    const abort = new AbortController();
    const watch = setInterval(() => {
      if (stopping()) return abort.abort();
      states.findRun(this.database, id).then(
        (run) => run?.state !== 'running' && abort.abort(),
        () => undefined,
      );
    }, cancelPollMs);
    try {
      await this.advance(id, abort.signal);
    } catch (error) {
      if (!abort.signal.aborted && !(error instanceof states.Superseded)) {
        const fault =
          error instanceof CartError ? error.response : error instanceof Error ? error.message : String(error);
        await states.noteFault(this.database, id, fault).catch(() => undefined);
        throw error;
      }
    } finally {
      clearInterval(watch);
    }
    return (await states.findRun(this.database, id))?.state ?? null;
  }

  private async advance(id: string, signal: AbortSignal): Promise<void> {
    for (;;) {
      const run = await states.findRun(this.database, id);
      if (run?.state !== 'running' || signal.aborted) return;
      // What was set before the run was asked for, its guard above all, holds for it.
      await this.dependencies.qohTransfer.baselining.caughtUp();
      const cart = await this.dependencies.directory.cart(run.cartId);
      await (run.phase === 'looking' ? this.look(run, cart, signal) : this.equalise(run, cart, signal));
    }
  }

  /** Reads everything once and changes nothing: what comes of it is the preview, and what the guard judges. */
  private async look(found: StoredQohRun, cart: ReachableCart, signal: AbortSignal): Promise<void> {
    const { database } = this;
    const { baselining } = this.dependencies.qohTransfer;
    if (found.looks >= looksMax && found.letPass !== null) {
      const why = 'The cart shows other quantities each time it is read; look at it there first, and begin anew.';
      return states.endRun(database, found, 'failed', { why });
    }
    await baselining.resolveUnknown(found.cartId);
    const run = await states.beginLook(database, found);
    const guard = cart.settings.guard ?? usualGuard;
    const total = run.total ?? 0;
    // A guard that could not object to all of them together need not see any; of a whole cart more may come to light.
    if (!run.preview && !isWhole(run.scope) && total <= letsPass(total, guard))
      return states.goOn(database, run, Number.MAX_SAFE_INTEGER);
    await this.dependencies.orderImport.poll(run.cartId, { wanted: true });
    await baselining.caughtUp();
    const counts = { looked: 0, differing: 0, zeroed: 0, inflated: 0 };
    const named = await namedKeys(database, run);
    const doubled: DoubledKeys = new Map();
    for await (const { read } of this.lookedAt(run, cart, named, signal, doubled)) {
      signal.throwIfAborted();
      if (named === null && !run.preview) await this.meetNewKeys(run, read, false);
      const { looked, differences } = await differencesOf({ database, baselining }, run, read);
      counts.looked += looked;
      counts.differing += differences.length;
      counts.zeroed += differences.filter(({ danger }) => danger === 'zeroed').length;
      counts.inflated += differences.filter(({ danger }) => danger === 'inflated').length;
      await states.noteLook(database, run, counts, differences);
    }
    await (named === null ? keepDoubledKeys : addDoubledKeys)(database, run.cartId, doubled);
    counts.differing -= await states.forgetRows(database, run, [...doubled.keys()]);
    await states.noteLook(database, run, counts, []);
    if (run.preview) return states.endRun(database, run, 'done', { doubled: [...doubled.keys()] });
    const letPass = Math.max(letsPass(counts.looked, guard), run.letPass ?? 0);
    // Let through once, as much is not asked for again.
    const isKnown = counts.zeroed + counts.inflated <= (run.letPass ?? 0);
    const why = isKnown ? null : whyHeld({ ...counts, listings: counts.looked }, guard);
    await (why === null ? states.goOn(database, run, letPass) : states.hold(database, run, counts, why));
  }

  /** Everything once; of a cart whose listing was seen to leave items out, by name what did not come, so that it is judged too. */
  private async *lookedAt(
    run: StoredQohRun,
    cart: ReachableCart,
    named: readonly string[] | null,
    signal: AbortSignal,
    doubled: DoubledKeys,
  ): AsyncGenerator<ListingGroup> {
    if (cart.capabilities.listingComplete !== false)
      return yield* readGroups(this.database, cart, named, signal, doubled);
    const seen = new Set<string>();
    for (let round = 0; round <= roundsMax; round += 1) {
      let keys = named;
      if (round > 0) {
        keys = await unseenOf(this.database, run, seen);
        if (keys.length === 0) return;
      }
      for await (const group of readGroups(this.database, cart, keys, signal, doubled)) {
        const read = new Map([...group.read].filter(([key]) => !seen.has(key)));
        for (const key of read.keys()) seen.add(key);
        if (read.size > 0) yield { ...group, read };
      }
    }
  }

  /** As the cart tells its pages; then by name what did not come or was too busy; what is busy still, with a held lane. */
  private async equalise(run: StoredQohRun, cart: ReachableCart, signal: AbortSignal): Promise<void> {
    const { database } = this;
    const { orderImport, qohTransfer } = this.dependencies;
    await qohTransfer.baselining.resolveUnknown(run.cartId);
    const doubled: DoubledKeys = new Map();
    const pass = { run, cart, signal, doubled, before: await orderImport.poll(run.cartId, { wanted: true }) };
    const named = await namedKeys(database, run);
    for await (const group of readGroups(database, cart, named, signal, doubled)) {
      if (!(await this.makeEqual(pass, group, new Set()))) return;
    }
    if (named === null) await keepDoubledKeys(database, run.cartId, doubled);
    for (let round = 0; round < roundsMax; round += 1) {
      if (round > 0) await sleep(checkoutPauseMs, undefined, { signal });
      if ((await this.equaliseLeft(pass)) === 'other quantities') return;
      if ((await this.left(pass, '')).length === 0) break;
    }
    const unsettled = await this.equaliseHeld(pass);
    await states.endRun(database, run, 'done', { doubled: [...doubled.keys()], unsettled });
  }

  /** What no page showed, or what moved while it was read, asked for by name. */
  private async equaliseLeft(pass: Pass): Promise<'other quantities' | void> {
    const { cart, signal, doubled } = pass;
    for (let keys = await this.left(pass, ''); keys.length > 0; keys = await this.left(pass, keys.at(-1) as string)) {
      const missing = new Set(keys);
      const from = await databaseNow(this.database);
      for await (const group of readGroups(this.database, cart, keys, signal, doubled)) {
        for (const key of group.read.keys()) missing.delete(key);
        if (!(await this.makeEqual(pass, group, new Set()))) return 'other quantities';
      }
      // A cart whose listing was seen to leave items out is not believed that they are not there: nobody knows what they show.
      if (missing.size === 0 || cart.capabilities.listingComplete === false) continue;
      if (!(await this.makeEqual(pass, { from, read: new Map() }, missing))) return 'other quantities';
    }
  }

  /** Something leaves for these all the time. For the moment in which they are read nothing does. @returns what is left */
  private async equaliseHeld(pass: Pass): Promise<readonly string[]> {
    const { run, signal } = pass;
    const unsettled: string[] = [];
    for (let after = ''; ;) {
      const keys = (await this.left(pass, after)).slice(0, heldKeys);
      if (keys.length === 0) return unsettled;
      after = keys.at(-1) as string;
      for (const direction of ['get', 'send'] as const) {
        const own = await this.following(run, keys, direction);
        if (own.length === 0) continue;
        const reason = `${run.direction === 'send' ? 'Send' : 'Get'} QOH`;
        const report = await this.dependencies.qohTransfer.run({
          cartId: run.cartId,
          direction,
          keys: own,
          reason,
          signal,
        });
        unsettled.push(...report.unsettled);
        const { listings: equal, differences, notListed } = report;
        await states.noteEqual(this.database, run, { equal, differences, dangerous: 0, created: 0 }, { notListed });
      }
    }
  }

  /** @returns false: the run is looked at anew */
  private async makeEqual(pass: Pass, group: ListingGroup, absent: ReadonlySet<string>): Promise<boolean> {
    const { run, signal } = pass;
    const { database } = this;
    const { qohTransfer, orderImport } = this.dependencies;
    const { baselining } = qohTransfer;
    signal.throwIfAborted();
    await untilRoom(database, run.cartId, signal);
    await addDoubledKeys(database, run.cartId, pass.doubled);
    const met = isWhole(run.scope)
      ? await this.meetNewKeys(run, group.read, run.createNewProducts)
      : { unknownAtHub: [], created: 0 };
    const danger = await this.dangerIn(run, group);
    if (danger === 'too much') return false;
    const made = await makeEqual({ baselining, orderImport }, run, { ...group, absent }, pass.before);
    pass.before = made.after;
    // What was too busy is read again, and counted then.
    const dangerous = [...danger].filter((key) => made.keys.has(key)).length;
    run.dangerous += dangerous;
    const { unknownAtHub, created } = met;
    await states.noteEqual(
      database,
      run,
      { equal: made.keys.size, differences: made.differences, dangerous, created },
      { notListed: made.notListed, unknownAtHub },
    );
    return true;
  }

  private async meetNewKeys(run: StoredQohRun, read: ReadonlyMap<string, unknown>, create: boolean): Promise<MetKeys> {
    const { newKeys, baselining } = this.dependencies.qohTransfer;
    const met = await newKeys.meet(run.cartId, [...read.keys()], create);
    await baselining.caughtUp();
    return met;
  }

  /** A cart that shows something else now than when it was judged is not believed twice. */
  private async dangerIn(run: StoredQohRun, { read }: ListingGroup): Promise<ReadonlySet<string> | 'too much'> {
    const { letPass } = run;
    if (letPass === null || letPass >= Number.MAX_SAFE_INTEGER) return new Set();
    const { baselining } = this.dependencies.qohTransfer;
    const { differences } = await differencesOf({ database: this.database, baselining }, run, read);
    const dangerous = differences.filter(({ danger }) => danger !== null).map(({ key }) => key);
    if (run.dangerous + dangerous.length <= letPass) return new Set(dangerous);
    await states.lookAgain(this.database, run);
    return 'too much';
  }

  private left({ run }: Pass, after: string): Promise<string[]> {
    return leftOf(this.database, run, after);
  }

  private async following(run: StoredQohRun, keys: readonly string[], direction: 'send' | 'get'): Promise<string[]> {
    if (run.scope.otherwise === undefined) return run.direction === direction ? [...keys] : [];
    const found = await this.database.pool.query<{ key: string; sku: string }>(
      'SELECT key, sku FROM listings WHERE cart_id = $1 AND key = ANY ($2::text[])',
      [run.cartId, keys],
    );
    return found.rows.filter(({ sku }) => directionOf(run, sku) === direction).map(({ key }) => key);
  }
}

interface Pass {
  readonly run: StoredQohRun;
  readonly cart: ReachableCart;
  readonly signal: AbortSignal;
  readonly doubled: DoubledKeys;
  /** The orders that were known when the reading of the next group began. */
  before: PollResult;
}
