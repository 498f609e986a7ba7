import { setTimeout as sleep } from 'node:timers/promises';
import type { AppendedFact } from '../events/commands.js';
import type { LaneStatus } from '../cart-workers/lane-control.js';
import type { ProjectorStatus } from '../projections/projector-status.js';
import type { Cart } from './cart-table.js';
import { CommandLineError } from './exit-codes.js';
import { segment } from './options.js';
import type { Session } from './session.js';
import type { Item } from './stock.js';
import { diagnose, type Seen, type Situation, type StandsStill } from './try-diagnosis.js';
import type { StackRecord } from './web-stack.js';

export interface Trial {
  readonly cart: Cart;
  readonly key: string;
  readonly sku: string;
  readonly location: string;
  readonly lateAfterMs: number;
  readonly giveUpAfterMs: number;
}

export interface TryHop {
  readonly name: string;
  readonly at: string;
  readonly ms: number;
  readonly about: string | null;
}

/** How one change fared. `seen` false and `standsStill` null: it was interrupted. */
export interface StepReport {
  readonly delta: number;
  readonly wanted: number | null;
  readonly seen: boolean;
  /** What the cart showed last. */
  readonly quantity: number | null;
  readonly late: boolean;
  readonly totalMs: number | null;
  readonly hops: readonly TryHop[];
  readonly standsStill: StandsStill | null;
}

const TICK_MS = 150;
const READ_EVERY_MS = 400;
/** Before the cart was called at all it can hardly show anything; but what is known may be behind. */
const READ_EARLY_EVERY_MS = 2_000;
/** How long the hub may take to note what the cart shows already. */
const NOTED_WITHIN_MS = 3_000;

/** Follows one change until the cart itself shows it, or the time is up, or the signal says stop. */
export async function watchStep(
  session: Session,
  trial: Trial,
  step: { readonly fact: AppendedFact; readonly delta: number; readonly wanted: number | null },
  onLate: (standsStill: StandsStill) => void,
  signal: AbortSignal,
): Promise<StepReport> {
  const startedAt = Date.now();
  const live = new LiveReader(session, trial, signal);
  let record: StackRecord | null = null;
  let told = false;
  const report = (seen: Seen | null, arrived: boolean, standsStill: StandsStill | null): StepReport => {
    const at = arrived && seen?.kind === 'shows' ? seen.readAt : null;
    const hops = hopsOf(step.fact, record, at, seen?.kind === 'shows' ? seen.quantity : null);
    return {
      delta: step.delta,
      wanted: step.wanted,
      seen: arrived,
      quantity: seen?.kind === 'shows' ? seen.quantity : null,
      late: Date.now() - startedAt > trial.lateAfterMs,
      totalMs: at === null ? null : Math.max(0, Date.parse(at) - Date.parse(step.fact.recordedAt)),
      hops,
      standsStill,
    };
  };
  while (!signal.aborted) {
    record = await recordOf(session, trial, step.fact, record, signal);
    live.ask(record !== null && record.attempts > 0);
    if (await arrived(session, trial, step.wanted, record, live.seen, signal)) {
      record = await untilEnded(session, record, signal);
      return report(live.seen, true, null);
    }
    const waited = Date.now() - startedAt;
    if (waited >= trial.giveUpAfterMs || (waited >= trial.lateAfterMs && !told)) {
      const situation = await lookAround(session, trial, record, live.seen, step.wanted, signal);
      const standsStill = diagnose(situation, Date.now());
      if (waited >= trial.giveUpAfterMs) return report(live.seen, false, standsStill);
      told = true;
      onLate(standsStill);
    }
    await sleep(TICK_MS, undefined, { signal }).catch(() => undefined);
  }
  return report(live.seen, false, null);
}

/** Asks the cart again and again, never twice at once, and slower the longer the cart takes: looking must not be load. */
class LiveReader {
  seen: Seen | null = null;
  private asking = false;
  private startedAt = 0;
  private tookMs = 0;

  constructor(
    private readonly session: Session,
    private readonly trial: Trial,
    private readonly signal: AbortSignal,
  ) {}

  ask(called: boolean): void {
    const pause = Math.max(called ? READ_EVERY_MS : READ_EARLY_EVERY_MS, 2 * this.tookMs);
    if (!this.asking && Date.now() - this.startedAt >= pause) void this.read();
  }

  private async read(): Promise<void> {
    this.asking = true;
    this.startedAt = Date.now();
    try {
      this.seen = await readShown(this.session, this.trial.cart.id, this.trial.key, this.signal);
    } catch (error) {
      this.seen = { kind: 'no-answer', why: String(error) };
    } finally {
      this.tookMs = Date.now() - this.startedAt;
      this.asking = false;
    }
  }
}

export async function readShown(session: Session, cart: string, key: string, signal?: AbortSignal): Promise<Seen> {
  const path = `/v1/carts/${segment(cart)}/listings/${segment(key)}/shown`;
  try {
    const { body } = await session.hub.get<{ listed: boolean; quantity: number | null; readAt: string }>(
      path,
      {},
      signal,
    );
    return { kind: 'shows', ...body };
  } catch (error) {
    if (error instanceof CommandLineError) return { kind: 'no-answer', why: error.message };
    throw error;
  }
}

/** The record that carries the fact: the first whose cause is as new as it. One record may sum up several facts. */
async function recordOf(
  session: Session,
  { cart, key }: Trial,
  fact: AppendedFact,
  known: StackRecord | null,
  signal: AbortSignal,
): Promise<StackRecord | null> {
  try {
    if (known !== null) return known.endedAt === null ? await recordById(session, known.id, signal) : known;
    const { body } = await session.hub.get<{ data: StackRecord[] }>(
      '/v1/web-stack',
      { cart: cart.id, key, limit: '50' },
      signal,
    );
    const carries = ({ cause, acceptedAt }: StackRecord) =>
      cause.stream === fact.stream ? BigInt(cause.version) >= BigInt(fact.version) : acceptedAt > fact.recordedAt;
    const found = body.data.findLast(carries);
    return found === undefined ? null : await recordById(session, found.id, signal);
  } catch (error) {
    // The hub may be restarting; what is known stays, and the time limit ends it.
    if (error instanceof CommandLineError) return known;
    throw error;
  }
}

async function recordById(session: Session, id: string, signal: AbortSignal): Promise<StackRecord> {
  return (await session.hub.get<StackRecord>(`/v1/web-stack/${id}`, {}, signal)).body;
}

/**
 * The cart shows the wanted number; or, where others buy and receive meanwhile, it took the change and shows what it
 * should by now.
 */
async function arrived(
  session: Session,
  trial: Trial,
  wanted: number | null,
  record: StackRecord | null,
  seen: Seen | null,
  signal: AbortSignal,
): Promise<boolean> {
  if (seen?.kind !== 'shows' || seen.quantity === null) return false;
  if (seen.quantity === wanted) return true;
  if (record === null || record.endedAt === null || seen.readAt < record.endedAt) return false;
  if (record.state !== 'delivered' && record.state !== 'superseded') return false;
  const listing = await listingOf(session, trial, signal).catch(() => null);
  return listing !== null && listing.owed === 0 && listing.shown === seen.quantity;
}

async function untilEnded(
  session: Session,
  record: StackRecord | null,
  signal: AbortSignal,
): Promise<StackRecord | null> {
  const until = Date.now() + NOTED_WITHIN_MS;
  let now = record;
  while (now !== null && now.endedAt === null && Date.now() < until && !signal.aborted) {
    await sleep(TICK_MS);
    now = await recordById(session, now.id, signal).catch(() => now);
  }
  return now;
}

export async function listingOf(
  session: Session,
  { cart, key, sku }: Pick<Trial, 'cart' | 'key' | 'sku'>,
  signal?: AbortSignal,
) {
  const { body } = await session.hub.get<Item>(`/v1/items/${segment(sku)}`, {}, signal);
  return body.listings.find((row) => row.cartId === cart.id && row.key === key) ?? null;
}

/** Everything that may stand in the way, each asked for by itself: what the hub does not tell is simply not known. */
export async function lookAround(
  session: Session,
  trial: Pick<Trial, 'cart' | 'key' | 'sku'>,
  record: StackRecord | null,
  seen: Seen | null,
  wanted: number | null,
  signal?: AbortSignal,
): Promise<Situation> {
  const { hub } = session;
  const path = `/v1/carts/${segment(trial.cart.id)}`;
  const unknown = () => null;
  const [cart, projector, lanes, listing, first] = await Promise.all([
    hub.get<Cart>(path, {}, signal).then(({ body }) => body, unknown),
    hub.get<ProjectorStatus>('/v1/projector', {}, signal).then(({ body }) => body, unknown),
    hub.get<{ data: LaneStatus[] }>('/v1/lanes', {}, signal).then(({ body }) => body.data, unknown),
    listingOf(session, trial, signal).catch(unknown),
    hub.get<{ heldBackBy: string | null }>(`${path}/web-stack/first`, {}, signal).then(({ body }) => body, unknown),
  ]);
  return {
    cart: cart ?? trial.cart,
    key: trial.key,
    wanted,
    record,
    projector,
    lane: lanes?.find((row) => row.cartId === trial.cart.id) ?? null,
    listing,
    heldBackBy: first?.heldBackBy ?? null,
    seen,
  };
}

/** All times are the hub's, so that its clock and ours need not agree. */
export function hopsOf(
  fact: Pick<AppendedFact, 'type' | 'recordedAt'>,
  record: Pick<StackRecord, 'hops'> | null,
  seenAt: string | null,
  quantity: number | null,
): TryHop[] {
  const known: Omit<TryHop, 'ms'>[] = record?.hops.filter(({ name }) => name !== 'ended') ?? [
    { name: 'recorded', at: fact.recordedAt, about: fact.type },
  ];
  // A cart may show a change before its answer is here; every hop stands where it happened.
  const seen = seenAt === null ? [] : [{ name: 'seen at the cart', at: seenAt, about: `it shows ${quantity ?? '?'}` }];
  const hops = [...known, ...seen].sort((a, b) => a.at.localeCompare(b.at));
  return hops.map((hop, at) => ({
    name: hop.name,
    at: hop.at,
    ms: Math.max(0, Date.parse(hop.at) - Date.parse(hops[at - 1]?.at ?? hop.at)),
    about: hop.about,
  }));
}
