import { Inject, Injectable } from '@nestjs/common';
import type { Database } from '../../database.js';
import { cartOf, type OrderDifference, type OrderSource } from '../../events/facts.js';
import { orderStream } from '../../events/streams.js';
import { upcast } from '../../events/upcasters.js';
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
    const after = await this.balanceAfter(source, number, line, recordedAt);
    const tooMany = after === null ? 0 : Math.max(0, Math.min(quantity, -after));
    const cartId = cartOf(source);
    const cart = cartId === null ? null : await this.shownBy(sku, cartId, key, placedAt);
    const lateRecords = cartId === null || tooMany === 0 ? [] : await this.lateRecords(cartId, key, placedAt);
    const lateSales = tooMany === 0 ? [] : await this.lateSales(line, placedAt, recordedAt);
    const told = { number, sku, location, quantity, after, tooMany, placedAt, cart, lateRecords, lateSales };
    return {
      line: line.line,
      sku,
      key,
      location,
      quantity,
      onHandAfter: after,
      tooMany,
      showed: cart?.shows ?? null,
      shouldHaveShown: cart?.target ?? null,
      lateRecords,
      lateSales,
      sentence: sentenceOf(told),
    };
  }

  private async balanceAfter(source: OrderSource, number: string, line: OrderDifference, recordedAt: Date) {
    const { rows } = await this.database.pool.query<{ balance: string }>({
      name: 'balance-after-order',
      text: `SELECT balance FROM events
              WHERE delta IS NOT NULL AND (data -> 'reference' ->> 'kind') = 'order' AND (data -> 'reference' ->> 'number') = $1
                AND (data -> 'reference' ->> 'line') = $2 AND data ->> 'source' = $3 AND sku = $4 AND location = $5
                AND recorded_at >= $6 AND type = 'StockSold'
              ORDER BY version LIMIT 1`,
      values: [number, line.line, source, line.sku, line.location, recordedAt],
    });
    return rows[0] === undefined ? null : Number(rows[0].balance);
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
      text: `SELECT w.id, w.delta, w.state, w.cause, w.accepted_at, w.ended_at, w.last_response
               FROM listings l JOIN web_stack w ON w.sku = l.sku AND w.cart_id = l.cart_id AND w.key = l.key
              WHERE l.cart_id = $1 AND l.key = $2 AND w.delta < 0 AND w.accepted_at <= $3
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
  private async lateSales({ sku, location }: OrderDifference, placedAt: Date, recordedAt: Date): Promise<LateSale[]> {
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
      values: [`stock:${location}/${sku}`, placedAt, recordedAt],
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

interface LineStory {
  readonly number: string;
  readonly sku: string;
  readonly location: string;
  readonly quantity: number;
  readonly after: number | null;
  readonly tooMany: number;
  readonly placedAt: Date;
  readonly cart: ExplainedListing | null;
  readonly lateRecords: readonly LateRecord[];
  readonly lateSales: readonly LateSale[];
}

function sentenceOf({ number, sku, location, quantity, after, tooMany, placedAt, cart, ...late }: LineStory): string {
  if (after === null) return `Order ${number} moved no ${sku}.`;
  if (tooMany === 0) return `Order ${number} sold ${quantity} of ${sku}, and they were there.`;
  const there = Math.max(0, after + quantity);
  const who = cart === null ? `Order ${number}` : `${cart.cartName}, order ${number},`;
  const sold = `${who} sold ${quantity} of ${sku} in ${location} when ${there} ${there === 1 ? 'was' : 'were'} there: ${tooMany} too many.`;
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
