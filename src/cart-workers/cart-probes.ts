import { randomBytes, randomUUID } from 'node:crypto';
import type { Database } from '../database.js';
import type { CommandBatcher } from '../events/command-batcher.js';
import type { CartProbe } from '../events/facts.js';
import { callFor, type CartDirectory, type ReachableCart } from './cart-directory.js';
import { CartError } from './connectors/cart-error.js';
import type { LineAnswer, OrdersReport } from './connectors/connector.js';
import { databaseNow } from './database-clock.js';
import { holdLane } from './lane-hold.js';
import { probePiecesMin } from './probe-explain.js';
import { findingsOf, foundBy, ordersSaw, type Observations } from './probe-findings.js';
import { countOrdersFrom } from './probe-orders.js';
import { LeftOverError, ProbedStock } from './probe-stock.js';
import type { ProbeWish, TouchedItem } from './probes.table.js';
import { untilQuiet } from './until-quiet.js';

/** Pieces from which on changes are sent two at a time: six are taken for a moment. */
const parallelPiecesMin = 8;
const parallelRounds = 3;
/** Beyond this a listing is not read twice just to look at its pages. */
const listedMax = 20_000;

interface ProbeRow {
  readonly id: string;
  readonly cart_id: string;
  readonly wish: ProbeWish;
  readonly by: string;
  readonly state: 'waiting' | 'running' | 'done' | 'failed';
  readonly touched: TouchedItem | null;
}

/**
 * Conformance probes: what does this very script do with a change? Asked on one item that a person names, while nothing
 * else is sent to the cart. Whatever happens, the item is put back (probe-stock.ts), by whoever comes next if need be.
 */
export class CartProbes {
  constructor(
    private readonly dependencies: {
      readonly database: Database;
      readonly batcher: CommandBatcher;
      readonly directory: CartDirectory;
    },
  ) {}

  /** Writes down that a cart is to be probed; @returns the probe that waits or runs already, if there is one */
  async ask(cartId: string, wish: ProbeWish, by: string): Promise<{ id: string; isNew: boolean }> {
    const id = randomUUID();
    const { rows } = await this.dependencies.database.pool.query<{ id: string }>(
      `WITH added AS (
         INSERT INTO cart_probes (id, cart_id, wish, by) VALUES ($1, $2, $3, $4)
         ON CONFLICT (cart_id) WHERE state IN ('waiting', 'running') DO NOTHING RETURNING id)
       SELECT id FROM added
       UNION ALL SELECT id FROM cart_probes WHERE cart_id = $2 AND state IN ('waiting', 'running') LIMIT 1`,
      [id, cartId, wish, by],
    );
    const found = rows[0]?.id ?? id;
    return { id: found, isNew: found === id };
  }

  /** Probes that wait, run, or have left something to put back: whoever starts a worker takes them up. */
  async unfinished(cartId: string | null): Promise<readonly { id: string; cartId: string; touched: string | null }[]> {
    const { rows } = await this.dependencies.database.pool.query<{
      id: string;
      cartId: string;
      touched: string | null;
    }>(
      `SELECT id, cart_id AS "cartId", touched->>'key' AS touched FROM cart_probes
        WHERE (state IN ('waiting', 'running') OR touched IS NOT NULL) AND ($1::text IS NULL OR cart_id = $1)
        ORDER BY asked_at, id LIMIT 1000`,
      [cartId],
    );
    return rows;
  }

  /** A person has looked at the item: what an earlier probe left is right as it is now. */
  async leaveAsItIs(cartId: string): Promise<void> {
    await this.dependencies.database.pool.query(
      `UPDATE cart_probes SET touched = NULL WHERE cart_id = $1 AND state NOT IN ('waiting', 'running')`,
      [cartId],
    );
  }

  /** Carries a probe out, from its beginning; what an earlier one left half done is put back first. */
  async run(id: string): Promise<void> {
    const { database, directory } = this.dependencies;
    const asked = await this.row(id);
    if (asked === null || isOver(asked)) return;
    const cart = await directory.cart(asked.cart_id);
    const hold = await holdLane(database, asked.cart_id);
    try {
      // Somebody else may have ended it while we waited for the lane.
      const row = await this.row(id);
      if (row === null || isOver(row)) return;
      await untilQuiet(database, row.cart_id, null);
      await this.putBackLeftOvers(cart);
      if (row.state === 'failed') return;
      await this.step(id, 'Started');
      await this.finish(id, await this.probe(cart, row));
    } catch (error) {
      if (!(error instanceof CartError || error instanceof LeftOverError)) throw error;
      await this.fail(id, error instanceof CartError ? `${error.message}: ${error.response}` : error.message);
    } finally {
      await hold.release();
    }
  }

  private async probe(asSet: ReachableCart, row: ProbeRow): Promise<CartProbe> {
    const evidence: { step: string; asked: string; answered: string }[] = [];
    const saw = async (step: string, asked: string, answered: string) => {
      evidence.push({ step, asked, answered });
      await this.step(row.id, `${step}: ${answered}`);
    };
    const { connector, settings } = asSet;
    const call = () => callFor(asSet.connection.requestTimeoutMs);
    const { version, findings } = await connector.testConnection(asSet.connection, call());
    await saw('version and login', 'the version, a count, a page', findings.join(' '));
    const nowhere = `ONHAND-PROBE-${randomBytes(4).toString('hex')}`;
    const updates = (await connector.probe?.updates(asSet.connection, call, nowhere)) ?? { form: 'plain', saw: '' };
    await saw('how changes are written', `+1 of ${nowhere}`, updates.saw);
    const connection = { ...asSet.connection, updates: updates.form };
    const cart = { ...asSet, connection };
    const functions = (await connector.probe?.functions(connection, call)) ?? [];
    for (const one of functions) await saw(`function ${one.name}`, one.name, one.response);
    const orders = (await connector.probe?.orders(connection, call)) ?? { by: 'unknown', numbersArePlain: true };
    await saw('orders from some point on', 'above the last number, from a day on', ordersSaw(orders));
    const listing = await readTwice(cart);
    await saw(
      'listing',
      'everything, twice',
      `${listing.items} items, ${listing.changed.length} different${listing.moved ? ', in another order' : ''}`,
    );

    const tell = async (step: string, key: string, tildeInKeys = connection.tildeInKeys === true) => {
      const answer = await ask({ ...cart, connection: { ...connection, tildeInKeys } }, key);
      await saw(step, `+1 of ${key}`, answer.response);
      return answer;
    };
    const unknown = await tell('an item that is not there', nowhere);
    const odd = await tell('odd characters', `${nowhere} A+B/C&D;E=F%`);
    const tilde = await tell('a tilde', `${nowhere}~7`, true);
    const stock = await this.changed(cart, row, orders.by, saw);
    const seen: Observations = {
      updates,
      functions,
      orders,
      listing,
      unknown: {
        applied: unknown.outcome === 'applied',
        response: unknown.response,
        ok: /^SETIResponse\s*[:=]\s*OK/i.test(unknown.response),
      },
      odd: { understood: odd.outcome === 'not-found', response: odd.response },
      // An answer that does not name the SKU does not say how it was split.
      tilde: {
        understood: tilde.outcome === 'not-found' && tilde.response.includes(`${nowhere}~7`),
        response: tilde.response,
      },
      ...stock,
    };
    return {
      cartId: row.cart_id,
      probeId: row.id,
      at: (await databaseNow(this.dependencies.database)).toISOString(),
      scriptVersion: version,
      url: settings.url,
      storeCode: settings.storeCode,
      key: row.wish.key,
      found: foundBy(seen),
      findings: findingsOf(seen),
      evidence,
      by: row.by,
    };
  }

  /** Everything that touches the item, and putting it back. */
  private async changed(
    cart: ReachableCart,
    { id, cart_id: cartId, wish }: ProbeRow,
    ordersBy: OrdersReport['by'],
    saw: (step: string, asked: string, answered: string) => Promise<void>,
  ): Promise<Pick<Observations, 'change' | 'replyAgrees' | 'belowZero' | 'parallel'>> {
    const { database } = this.dependencies;
    const since = await countOrdersFrom(cart, await pollMark(database, cartId), ordersBy, await databaseNow(database));
    const stock = await ProbedStock.begin(database, cart, id, wish.key, since);
    await saw('read', wish.key, `${stock.before}`);
    if (stock.before < probePiecesMin) {
      throw new LeftOverError(
        `${wish.key} shows ${stock.before}: with fewer than ${probePiecesMin} pieces adding and setting look alike. Name another item.`,
      );
    }
    const outcome = { replyAgrees: true, belowZero: notReached, parallel: notReached };
    try {
      const one = await stock.change(1);
      const words = one.answer.response;
      await saw('+1', `+1 of ${wish.key}`, `${words}; ${one.before} before, ${one.after} after`);
      if (one.behaviour === null) return { ...outcome, change: { refused: words } };
      if (one.behaviour !== 'adds') return { ...outcome, change: one.behaviour };
      const two = await stock.change(-1);
      await saw('−1', `−1 of ${wish.key}`, `${two.answer.response}; ${two.before} before, ${two.after} after`);
      const told = [one, two].map(({ answer, after }) => quantityOf(answer) === null || quantityOf(answer) === after);
      return {
        change: two.behaviour ?? { refused: two.answer.response },
        replyAgrees: !told.includes(false),
        belowZero: wish.belowZero ? await belowZero(stock, saw) : { leftOut: 'it was asked for without.' },
        parallel: wish.parallel ? await parallel(stock, saw) : { leftOut: 'it was asked for without.' },
      };
    } finally {
      await stock.putBack();
      await this.step(id, `${wish.key} is put back`);
    }
  }

  private async putBackLeftOvers(cart: ReachableCart): Promise<void> {
    const { rows } = await this.dependencies.database.pool.query<{ id: string; touched: TouchedItem }>(
      'SELECT id, touched FROM cart_probes WHERE cart_id = $1 AND touched IS NOT NULL ORDER BY asked_at, id',
      [cart.settings.cartId],
    );
    for (const { id, touched } of rows) {
      await this.step(id, `A probe ended half way; ${touched.key} is being put back`);
      await ProbedStock.resume(this.dependencies.database, cart, id, touched).putBack();
      await this.step(id, `${touched.key} is put back`);
    }
  }

  private async row(id: string): Promise<ProbeRow | null> {
    const { rows } = await this.dependencies.database.pool.query<ProbeRow>(
      'SELECT id, cart_id, wish, by, state, touched FROM cart_probes WHERE id = $1',
      [id],
    );
    return rows[0] ?? null;
  }

  private async step(id: string, step: string): Promise<void> {
    await this.dependencies.database.pool.query(
      `UPDATE cart_probes SET state = CASE state WHEN 'waiting' THEN 'running' ELSE state END,
              steps = steps || jsonb_build_array(jsonb_build_object('at', clock_timestamp(), 'step', $2::text)) WHERE id = $1`,
      [id, step],
    );
  }

  /** The findings become a fact first: a crash between the two records them once more, and changes nothing. */
  private async finish(id: string, probe: CartProbe): Promise<void> {
    const outcome = await this.dependencies.batcher.submit({
      client: 'cart-probes',
      idempotencyKey: null,
      bodyHash: null,
      command: { type: 'RecordProbe', probe },
    });
    if (outcome.kind === 'refused') return this.fail(id, outcome.refusal.detail);
    await this.dependencies.database.pool.query(
      `UPDATE cart_probes SET state = 'done', result = $2, ended_at = clock_timestamp() WHERE id = $1`,
      [id, probe],
    );
  }

  private async fail(id: string, error: string): Promise<void> {
    await this.dependencies.database.pool.query(
      `UPDATE cart_probes SET state = 'failed', error = $2, ended_at = clock_timestamp() WHERE id = $1 AND state <> 'done'`,
      [id, error],
    );
  }
}

const notReached = { leftOut: 'the cart does not add.' };
const isOver = ({ state, touched }: ProbeRow) => (state === 'done' || state === 'failed') && touched === null;
const quantityOf = (answer: LineAnswer) => (answer.outcome === 'applied' ? answer.quantity : null);

/** Sells the item out for a moment and beyond: shows whether the cart stops at 0. */
async function belowZero(
  stock: ProbedStock,
  saw: (step: string, asked: string, answered: string) => Promise<void>,
): Promise<Observations['belowZero']> {
  const { quantity } = await stock.look();
  const { behaviour, answer, after } = await stock.change(-(quantity + 1));
  await saw('below zero', `−${quantity + 1}`, `${answer.response}; ${after} after`);
  await stock.balance();
  return behaviour ?? 'refused';
}

async function parallel(
  stock: ProbedStock,
  saw: (step: string, asked: string, answered: string) => Promise<void>,
): Promise<Observations['parallel']> {
  const { quantity } = await stock.look();
  if (quantity < parallelPiecesMin)
    return { leftOut: `that needs an item with at least ${parallelPiecesMin} pieces, and this one shows ${quantity}.` };
  let kept = 0;
  for (let round = 0; round < parallelRounds; round += 1) kept += -(await stock.changeAtOnce(-1, 2));
  await saw('two at once', `${parallelRounds} × two −1 at once`, `${kept} of ${2 * parallelRounds} arrived`);
  return { sent: 2 * parallelRounds, kept };
}

/** One change of an item that no shop has; whatever comes back is an observation. */
async function ask({ connector, connection }: ReachableCart, key: string): Promise<LineAnswer> {
  const request = { idempotencyKey: randomUUID(), createdAtMs: Date.now(), lines: [{ key, delta: 1 }] };
  try {
    const [answer] = await connector.sendDeltas(connection, request, callFor(connection.requestTimeoutMs));
    return answer ?? { key, outcome: 'unknown', response: 'the cart said nothing of it' };
  } catch (error) {
    if (error instanceof CartError) return { key, outcome: 'unknown', response: error.response };
    throw error;
  }
}

/** Everything the cart lists, twice, page by page: an order that changes between the calls shows up as items that differ. */
async function readTwice(cart: ReachableCart): Promise<Observations['listing']> {
  const [first, second] = [await readKeys(cart), await readKeys(cart)];
  const changed = [...first.keys].filter((key) => !second.keys.has(key));
  changed.push(...[...second.keys].filter((key) => !first.keys.has(key)));
  // What is in both of them stands in the same order where pages have one, whatever came or went meanwhile.
  const [one, other] = [
    [...first.keys].filter((key) => second.keys.has(key)),
    [...second.keys].filter((key) => first.keys.has(key)),
  ];
  const moved = one.some((key, at) => key !== other[at]);
  return { items: first.keys.size, changed, moved, cut: first.cut || second.cut };
}

async function readKeys({ connector, connection }: ReachableCart): Promise<{ keys: Set<string>; cut: boolean }> {
  const keys = new Set<string>();
  for await (const page of connector.readQuantities(connection, null, () => callFor(connection.requestTimeoutMs))) {
    for (const { key } of page) keys.add(key);
    if (keys.size >= listedMax) return { keys, cut: true };
  }
  return { keys, cut: false };
}

async function pollMark(database: Database, cartId: string): Promise<string | null> {
  const { rows } = await database.pool.query<{ mark: string | null }>(
    'SELECT mark FROM order_polls WHERE cart_id = $1',
    [cartId],
  );
  return rows[0]?.mark ?? null;
}
