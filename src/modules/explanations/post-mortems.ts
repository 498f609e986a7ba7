import { Inject, Injectable } from '@nestjs/common';
import type { Database } from '../../database.js';
import { cartOf, type OrderDifference, type OrderSource } from '../../events/facts.js';
import { orderStream, stockStream } from '../../events/streams.js';
import { upcast } from '../../events/upcasters.js';
import { versionsAt } from '../../projections/availability/versions-at.js';
import { acceptedBySql } from '../../projections/listings.table.js';
import { DATABASE } from '../tokens.js';
import { Explanations, type ExplainedListing } from './explanations.js';

interface LateRecord {
  readonly id: string;
  readonly delta: number;
  readonly state: string;
  readonly cause: string;
  readonly acceptedAt: string;
  /** When the cart had it; null: it never did, or does not yet. */
  readonly endedAt: string | null;
  readonly lastResponse: string | null;
}

interface LateSale {
  readonly source: string;
  readonly reference: string | null;
  readonly pieces: number;
  readonly occurredAt: string;
  readonly recordedAt: string;
}

interface Told {
  readonly type: string;
  readonly shape: number;
  readonly data: unknown;
  readonly recorded_at: Date;
}

/** How an order could sell more than there was: what the cart showed, and what had not reached it. */
@Injectable()
export class PostMortems {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    private readonly explanations: Explanations,
  ) {}

  /** @returns null where no such order was ever imported */
  async of(source: OrderSource, number: string) {
    const { rows } = await this.database.pool.query<Told>({
      name: 'order-as-first-told',
      text: `SELECT type, shape, data, recorded_at FROM events
              WHERE stream = $1 AND type = 'OrderImported' ORDER BY version LIMIT 1`,
      values: [orderStream(source, number)],
    });
    const first = rows[0];
    if (first === undefined) return null;
    const fact = upcast(first.type, first.shape, first.data);
    if (fact.type !== 'OrderImported') return null;
    // A cart may tell days only; an order is older than our hearing of it, and is not in what was known before.
    const placedAt = new Date(Math.min(Date.parse(fact.data.placedAt), first.recorded_at.getTime() - 1));
    const recordedAt = first.recorded_at.toISOString();
    const lines = [];
    for (const line of fact.data.differences.filter(({ delta }) => delta < 0).slice(0, linesMax))
      lines.push(await this.ofLine(source, number, line, placedAt, first.recorded_at));
    const oversold = lines.filter(({ tooMany }) => tooMany > 0);
    const sentence =
      oversold.length > 0
        ? oversold.map((line) => line.sentence).join(' ')
        : `Order ${number} sold nothing that was not there.`;
    return { number, cartId: cartOf(source), placedAt: placedAt.toISOString(), recordedAt, sentence, lines };
  }

  private async ofLine(source: OrderSource, number: string, line: OrderDifference, placedAt: Date, recordedAt: Date) {
    const { sku, key, location } = line;
    const quantity = -line.delta;
    const cartId = cartOf(source);
    const cart = cartId === null ? null : await this.shownBy(sku, cartId, key, placedAt);
    const taken = await this.takenBy(source, number, line, recordedAt);
    const scarcest = await this.scarcest(taken, quantity, placesOf(cart, location));
    const tooMany = scarcest?.tooMany ?? 0;
    const lateRecords = cartId === null || tooMany === 0 ? [] : await this.lateRecords(cartId, key, placedAt);
    const lateSales =
      scarcest === null || tooMany === 0
        ? []
        : await this.lateSales({ sku: scarcest.sku, location }, placedAt, recordedAt);
    const told = { number, sku, quantity, scarcest, placedAt, cart, lateRecords, lateSales };
    return {
      line: line.line,
      sku,
      key,
      location,
      quantity,
      /** Over all places that the cart sells; of a kit, of the part that was missing most. */
      onHandAfter: scarcest?.after ?? null,
      tooMany,
      showed: cart?.shows ?? null,
      shouldHaveShown: cart?.target ?? null,
      lateRecords,
      lateSales,
      sentence: sentenceOf(told),
    };
  }

  /** What the line moved when it was told first: itself, or what the kit was made of. */
  private async takenBy(source: OrderSource, number: string, { line, location }: OrderDifference, recordedAt: Date) {
    const { rows } = await this.database.pool.query<Taken>({
      name: 'taken-by-order',
      text: `SELECT DISTINCT ON (sku) sku, -delta::int AS pieces, balance::int AS balance, recorded_at FROM events
              WHERE delta IS NOT NULL AND (data -> 'reference' ->> 'kind') = 'order' AND (data -> 'reference' ->> 'number') = $1
                AND (data -> 'reference' ->> 'line') = $2 AND data ->> 'source' = $3 AND location = $4
                AND recorded_at >= $5 AND type = 'StockSold'
              ORDER BY sku, version`,
      values: [number, line, source, location, recordedAt],
    });
    return rows;
  }

  /** Of what it took, what was missing most for its number of pieces, over all places together. */
  private async scarcest(
    taken: readonly Taken[],
    quantity: number,
    [location, ...others]: readonly string[],
  ): Promise<Scarcest | null> {
    const all: Scarcest[] = [];
    for (const { sku, pieces, balance, recorded_at: at } of taken) {
      const elsewhere = await this.onHandAt(sku, others, at);
      const after = [...elsewhere.values()].reduce((sum, onHand) => sum + onHand, balance);
      const each = Math.max(1, Math.round(pieces / quantity));
      const tooMany = Math.max(0, Math.min(quantity, Math.ceil(-after / each)));
      all.push({ sku, each, after, there: after + pieces, tooMany, places: [location ?? '', ...elsewhere.keys()] });
    }
    return all.toSorted((a, b) => b.tooMany - a.tooMany || a.after / a.each - b.after / b.each)[0] ?? null;
  }

  private async onHandAt(sku: string, locations: readonly string[], at: Date): Promise<Map<string, number>> {
    if (locations.length === 0) return new Map();
    const { pool } = this.database;
    const versions = await versionsAt(
      pool,
      locations.map((location) => stockStream(location, sku)),
      at,
    );
    const { rows } = await pool.query<{ location: string; balance: number }>({
      name: 'balances-at',
      text: `SELECT e.location, e.balance::int AS balance FROM unnest($1::text[], $2::bigint[]) AS t (stream, version)
               JOIN events e ON e.stream = t.stream AND e.version = t.version ORDER BY e.location`,
      values: [[...versions.keys()], [...versions.values()]],
    });
    return new Map(rows.map(({ location, balance }) => [location, balance]));
  }

  private async shownBy(sku: string, cart: string, key: string, at: Date): Promise<ExplainedListing | null> {
    const { carts } = await this.explanations.of(sku, { cart, at, movements: 1 });
    return carts.find((listing) => listing.key === key) ?? null;
  }

  /** Decreases that were accepted before the sale and that the cart did not have by then. */
  private async lateRecords(cartId: string, key: string, placedAt: Date): Promise<LateRecord[]> {
    const { rows } = await this.database.pool.query<{
      id: string;
      delta: string;
      state: string;
      cause: { type: string };
      accepted_at: Date;
      ended_at: Date | null;
      last_response: string | null;
    }>({
      name: 'late-records',
      text: `SELECT w.id, x.delta, w.state, w.cause, w.accepted_at, w.ended_at, w.last_response
               FROM listings l JOIN web_stack w ON w.sku = l.sku AND w.cart_id = l.cart_id AND w.key = l.key
              CROSS JOIN LATERAL (SELECT ${acceptedBySql('w', '$3::timestamptz')} AS delta) x
              WHERE l.cart_id = $1 AND l.key = $2 AND x.delta < 0 AND w.accepted_at <= $3
                AND (w.ended_at IS NULL OR w.ended_at > $3)
              ORDER BY w.id LIMIT ${lateMax}`,
      values: [cartId, key, placedAt],
    });
    return rows.map((row) => ({
      id: row.id,
      delta: Number(row.delta),
      state: row.state,
      cause: row.cause.type,
      acceptedAt: row.accepted_at.toISOString(),
      endedAt: row.ended_at?.toISOString() ?? null,
      lastResponse: row.last_response,
    }));
  }

  /** Pieces that were gone before this sale, and of which the hub heard only after it. */
  private async lateSales(
    { sku, location }: Pick<OrderDifference, 'sku' | 'location'>,
    placedAt: Date,
    recordedAt: Date,
  ): Promise<LateSale[]> {
    const { rows } = await this.database.pool.query<{
      source: string;
      reference: { kind: string; number: string } | null;
      delta: string;
      occurred_at: Date;
      recorded_at: Date;
    }>({
      name: 'late-sales',
      text: `SELECT data ->> 'source' AS source, data -> 'reference' AS reference, delta, occurred_at, recorded_at FROM events
              WHERE stream = $1 AND delta < 0 AND occurred_at > $2::timestamptz - interval '1 day' AND occurred_at <= $2
                AND recorded_at > $2 AND recorded_at <= $3
              ORDER BY occurred_at DESC LIMIT ${lateMax}`,
      values: [stockStream(location, sku), placedAt, recordedAt],
    });
    return rows
      .filter(({ occurred_at }) => occurred_at.getTime() < placedAt.getTime())
      .map((row) => ({
        source: row.source,
        reference: row.reference === null ? null : `${row.reference.kind}:${row.reference.number}`,
        pieces: -Number(row.delta),
        occurredAt: row.occurred_at.toISOString(),
        recordedAt: row.recorded_at.toISOString(),
      }));
  }
}

const linesMax = 50;
const lateMax = 10;

interface Taken {
  readonly sku: string;
  readonly pieces: number;
  /** On hand there afterwards. */
  readonly balance: number;
  readonly recorded_at: Date;
}

interface Scarcest {
  readonly sku: string;
  /** Pieces in one of what was sold. */
  readonly each: number;
  readonly there: number;
  readonly after: number;
  readonly tooMany: number;
  readonly places: readonly string[];
}

/** Where the pieces might have come from, the place that they were taken from first: all that the cart sells, if that is one. */
function placesOf(cart: ExplainedListing | null, location: string): string[] {
  const sold = new Set((cart?.steps ?? []).flatMap((step) => (step.step === 'on hand' ? (step.location ?? []) : [])));
  return sold.has(location) ? [location, ...[...sold].filter((other) => other !== location)] : [location];
}

interface LineStory {
  readonly number: string;
  readonly sku: string;
  readonly quantity: number;
  readonly scarcest: Scarcest | null;
  readonly placedAt: Date;
  readonly cart: ExplainedListing | null;
  readonly lateRecords: readonly LateRecord[];
  readonly lateSales: readonly LateSale[];
}

function sentenceOf({ number, sku, quantity, scarcest, placedAt, cart, ...late }: LineStory): string {
  if (scarcest === null) return `Order ${number} moved no ${sku}.`;
  const { tooMany, each, places } = scarcest;
  if (tooMany === 0) return `Order ${number} sold ${quantity} of ${sku}, and they were there.`;
  const there = Math.max(0, scarcest.there);
  const what = scarcest.sku === sku ? '' : ` of ${scarcest.sku}, of which each takes ${each},`;
  const who = cart === null ? `Order ${number}` : `${cart.cartName}, order ${number},`;
  const sold = `${who} sold ${quantity} of ${sku} in ${places.join(' and ')} when ${there}${what} ${there === 1 ? 'was' : 'were'} there: ${tooMany} too many.`;
  const showed =
    cart === null || cart.shows === null
      ? []
      : [`It showed ${cart.shows} then${cart.shows === cart.target ? '' : `, and was to show ${cart.target}`}.`];
  const records = late.lateRecords.map((record) => lateWords(record, placedAt));
  const sales = late.lateSales.map(
    (sale) =>
      `${sale.pieces} ${sale.pieces === 1 ? 'was' : 'were'} gone before (${sale.reference ?? sale.source}), and the hub heard of it ${durationWords(Date.parse(sale.recordedAt) - placedAt.getTime())} after this sale.`,
  );
  const why = [...records, ...sales];
  return [sold, ...showed, ...(why.length > 0 ? why : ['No change was late.'])].join(' ');
}

function lateWords({ delta, state, endedAt, acceptedAt, lastResponse }: LateRecord, placedAt: Date): string {
  const change = `A change of ${delta < 0 ? '−' : '+'}${Math.abs(delta)}, accepted ${durationWords(placedAt.getTime() - Date.parse(acceptedAt))} before,`;
  if (state === 'delivered' && endedAt !== null)
    return `${change} reached it ${durationWords(Date.parse(endedAt) - placedAt.getTime())} after the sale.`;
  if (endedAt !== null) return `${change} had not reached it, and ended as ${state}.`;
  const said = lastResponse === null ? '' : ` (${lastResponse})`;
  return `${change} has not reached it yet: it is ${stateWords[state] ?? state}${said}.`;
}

const stateWords: Readonly<Record<string, string>> = {
  waiting: 'waiting',
  'in-flight': 'on its way',
  'in-doubt': 'in doubt',
  quarantined: 'quarantined',
  'dead-lettered': 'a dead letter',
  held: 'held back by the guard',
};

function durationWords(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 120_000) return `${(ms / 1_000).toFixed(1)} s`;
  return ms < 7_200_000 ? `${Math.round(ms / 60_000)} minutes` : `${Math.round(ms / 3_600_000)} hours`;
}
