import { Inject, Injectable } from '@nestjs/common';
import { and, count, eq, gt, sql } from 'drizzle-orm';
import { z } from 'zod';
import { orderPolls, orderRefusals } from '../../cart-workers/lanes.table.js';
import type { Database } from '../../database.js';
import { streamHeads } from '../../events/event-log.table.js';
import { capabilitiesOf } from '../../cart-workers/connectors/capabilities.js';
import { connectorFor } from '../../cart-workers/connectors/index.js';
import type { CartProbe, CartSettings } from '../../events/facts.js';
import { listings, waitStatesSql, webStack } from '../../projections/listings.table.js';
import { carts, systemSwitch } from '../../projections/projections.table.js';
import { decodeCursor, pageOf } from '../http/paging.js';
import { DATABASE } from '../tokens.js';

/** Orders that could not be imported are rare; a cart with more of them needs its feed mended, not a longer list. */
const refusedShownMax = 100;

/** Which of the two switches is off; `inEffect` needs both. */
export interface Switches {
  readonly cartSwitch: 'on' | 'off';
  readonly systemSwitch: 'on' | 'off';
  readonly inEffect: boolean;
  /** A sentence that says which one is off. */
  readonly why: string;
}

/** Carts, their switches and listings as the projector has reached them. A secret is never among it. */
@Injectable()
export class CartReads {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  async list(query: { cursor?: string | undefined; limit: number }) {
    const after = decodeCursor(query.cursor, z.tuple([z.string()]));
    const [rows, system] = await Promise.all([
      this.database.orm
        .select(cartColumns)
        .from(carts)
        .leftJoin(streamHeads, headOfCart)
        .where(after === null ? undefined : gt(carts.cartId, after[0]))
        .orderBy(carts.cartId)
        .limit(query.limit + 1),
      this.systemIsOn(),
    ]);
    return pageOf(
      rows,
      query.limit,
      (row) => [row.cartId],
      (row) => shownCart(row, system),
    );
  }

  async get(cartId: string) {
    const [rows, system, orderFeed, counts] = await Promise.all([
      this.database.orm
        .select(cartColumns)
        .from(carts)
        .leftJoin(streamHeads, headOfCart)
        .where(eq(carts.cartId, cartId)),
      this.systemIsOn(),
      this.orderFeed(cartId),
      this.database.orm
        .select({
          listings: count(),
          synchronised:
            sql<number>`count(*) filter (where ${listings.generation} > 0 and ${listings.generation} = ${carts.generation})`.mapWith(
              Number,
            ),
          unlisted: sql<number>`count(${listings.unlisted})`.mapWith(Number),
        })
        .from(listings)
        .innerJoin(carts, eq(carts.cartId, listings.cartId))
        .where(eq(listings.cartId, cartId)),
    ]);
    const row = rows[0];
    return row === undefined
      ? null
      : { ...shownCart(row, system), ...(counts[0] ?? { listings: 0, synchronised: 0, unlisted: 0 }), orderFeed };
  }

  /** How far the cart's orders are known, what the last poll ran into, and which orders could not be imported. */
  private async orderFeed(cartId: string) {
    const [[poll], refused] = await Promise.all([
      this.database.orm.select().from(orderPolls).where(eq(orderPolls.cartId, cartId)),
      this.database.orm
        .select({ number: orderRefusals.number, detail: orderRefusals.detail, refusedAt: orderRefusals.refusedAt })
        .from(orderRefusals)
        .where(eq(orderRefusals.cartId, cartId))
        .orderBy(orderRefusals.refusedAt, orderRefusals.number)
        .limit(refusedShownMax),
    ]);
    return {
      mark: poll?.mark ?? null,
      lastPolledAt: poll?.endedAt?.toISOString() ?? null,
      lastError: poll?.lastError ?? null,
      refused: refused.map((order) => ({ ...order, refusedAt: order.refusedAt.toISOString() })),
    };
  }

  /** The cart's own keys of an item, as far as they are mapped (the first hundred). */
  async keysOf(cartId: string, sku: string): Promise<string[]> {
    const rows = await this.database.orm
      .select({ key: listings.key })
      .from(listings)
      .where(and(eq(listings.cartId, cartId), eq(listings.sku, sku)))
      .orderBy(listings.key)
      .limit(100);
    return rows.map(({ key }) => key);
  }

  async exists(cartId: string): Promise<boolean> {
    const rows = await this.database.orm.select({ cartId: carts.cartId }).from(carts).where(eq(carts.cartId, cartId));
    return rows.length > 0;
  }

  async switchedOn(): Promise<string[]> {
    const rows = await this.database.orm
      .select({ cartId: carts.cartId })
      .from(carts)
      .where(eq(carts.on, true))
      .orderBy(carts.cartId);
    return rows.map((row) => row.cartId);
  }

  async switches(cartId: string): Promise<Switches & { id: string; generation: number }> {
    const [rows, system] = await Promise.all([
      this.database.orm
        .select({ on: carts.on, generation: carts.generation })
        .from(carts)
        .where(eq(carts.cartId, cartId)),
      this.systemIsOn(),
    ]);
    const row = rows[0] ?? { on: false, generation: 0 };
    return { id: cartId, generation: row.generation, ...switchesOf(row.on, system) };
  }

  async systemSwitch(): Promise<{ on: boolean; version: string; cartsOff: string[] }> {
    const [rows, off] = await Promise.all([
      this.database.orm.select().from(systemSwitch),
      this.database.orm
        .select({ cartId: carts.cartId })
        .from(carts)
        .where(eq(carts.on, false))
        .orderBy(carts.cartId)
        .limit(200),
    ]);
    // No row yet: nobody has switched it, and it starts on.
    return { on: rows[0]?.on ?? true, version: String(rows[0]?.version ?? 0), cartsOff: off.map((row) => row.cartId) };
  }

  async listings(cartId: string, query: { cursor?: string | undefined; limit: number }) {
    const after = decodeCursor(query.cursor, z.tuple([z.string()]));
    // Looked up for the listings of the page, one by one: what is owed to the others is nobody's question.
    const owed = this.database.orm
      .select({
        owed: sql<number>`sum(${webStack.delta})`.as('owed'),
        records: count().as('records'),
      })
      .from(webStack)
      .where(
        and(
          eq(webStack.cartId, listings.cartId),
          eq(webStack.key, listings.key),
          sql.raw(`web_stack.state IN ${waitStatesSql}`),
        ),
      )
      .as('owed');
    const rows = await this.database.orm
      .select({
        listing: listings,
        cartGeneration: carts.generation,
        owed: sql<number>`coalesce(${owed.owed}, 0)`.mapWith(Number),
        records: sql<number>`coalesce(${owed.records}, 0)`.mapWith(Number),
      })
      .from(listings)
      .innerJoin(carts, eq(carts.cartId, listings.cartId))
      .leftJoinLateral(owed, sql`true`)
      .where(and(eq(listings.cartId, cartId), after === null ? undefined : gt(listings.key, after[0])))
      .orderBy(listings.key)
      .limit(query.limit + 1);
    return pageOf(rows, query.limit, ({ listing }) => [listing.key], shownListing);
  }

  /** Whether the cart was ever asked for its orders. */
  async isPolled(cartId: string): Promise<boolean> {
    const polls = this.database.orm.select({ id: orderPolls.cartId }).from(orderPolls);
    return (await polls.where(eq(orderPolls.cartId, cartId))).length > 0;
  }

  private async systemIsOn(): Promise<boolean> {
    return (await this.database.orm.select({ on: systemSwitch.on }).from(systemSwitch))[0]?.on ?? true;
  }
}

function switchesOf(cart: boolean, system: boolean): Switches {
  const off = [cart ? null : 'the cart switch', system ? null : 'the system switch'].filter((name) => name !== null);
  return {
    cartSwitch: cart ? 'on' : 'off',
    systemSwitch: system ? 'on' : 'off',
    inEffect: cart && system,
    why:
      off.length === 0
        ? 'Both switches are on.'
        : `Nothing is sent: ${off.join(' and ')} ${off.length === 1 ? 'is' : 'are'} off.`,
  };
}

/** The version that `If-Match` speaks of is the stream's own: mapping listings raises it, too. */
const cartColumns = {
  settings: carts.settings,
  probe: carts.probe,
  scriptVersion: carts.scriptVersion,
  cartId: carts.cartId,
  on: carts.on,
  generation: carts.generation,
  version: streamHeads.version,
};
const headOfCart = eq(streamHeads.stream, sql`'cart:' || ${carts.cartId}`);

function shownCart(
  row: {
    settings: CartSettings;
    probe: CartProbe | null;
    scriptVersion: string | null;
    on: boolean;
    generation: number;
    version: bigint | null;
  },
  system: boolean,
) {
  const { cartId, ...settings } = row.settings;
  const { probe } = row;
  const connector = connectorFor(settings.type);
  return {
    id: cartId,
    ...settings,
    cadence: settings.cadence ?? ({ kind: 'real-time' } as const),
    version: String(row.version ?? 0),
    generation: row.generation,
    switches: switchesOf(row.on, system),
    /** What the last probe found; null: none was made at this address. */
    probe:
      probe === null
        ? null
        : {
            id: probe.probeId,
            at: probe.at,
            scriptVersion: probe.scriptVersion,
            /** What the script called itself last; another one means that the findings may be outdated. */
            scriptVersionNow: row.scriptVersion ?? probe.scriptVersion,
            key: probe.key,
            found: probe.found,
          },
    /** What it declares, less what was found, less what was chosen to be done without. */
    capabilities: capabilitiesOf(connector, row.settings, probe),
    needsProbe: connector.probe !== undefined,
  };
}

function shownListing(row: {
  listing: typeof listings.$inferSelect;
  cartGeneration: number;
  owed: number;
  records: number;
}) {
  const { key, sku, generation, target, expected, baselineKind, baselineAt, unlisted, lastQuantity, lastQuantityTo } =
    row.listing;
  return {
    key,
    sku,
    synchronised: generation > 0 && generation === row.cartGeneration,
    target,
    expected,
    owed: row.owed,
    shown: expected === null ? null : expected - row.owed,
    waitingRecords: row.records,
    unlisted,
    baseline: baselineKind === null ? null : { kind: baselineKind, at: baselineAt?.toISOString() ?? null },
    lastRead: lastQuantity === null ? null : { quantity: lastQuantity, at: lastQuantityTo?.toISOString() ?? null },
  };
}
