/**
 * What a reset would do to what carts show. Its rows speak of stock at places; a cart that sells a tenth of the catalogue may
 * lose all it has to a file that changes little as a whole. So each cart's own guard judges its own listings, before
 * anything of the file is applied (docs/adr/0024).
 */
import type { Pool } from 'pg';
import type { Database } from '../../database.js';
import { usualGuard, type CartGuard } from '../../events/facts.js';
import { readSettings, type AvailabilitySettings } from '../../projections/availability/availability-settings.js';
import { evaluate } from '../../projections/availability/evaluate.js';
import { factsOf, listingFactsSql, type ListingFactsRow } from '../../projections/availability/listing-facts.js';
import { isInflated, isZeroed, whyHeld } from '../../projections/guard.js';

/** Stock that would change, and whether anybody had ever spoken of it: filling what was never stocked inflates nothing. */
export type MovedStock = readonly [sku: string, location: string, delta: number, known: boolean];

/** What a reset would do to one cart's listings. */
export interface CartImpact {
  readonly cartId: string;
  /** Its synchronised listings. */
  readonly listings: number;
  readonly changed: number;
  readonly zeroed: number;
  readonly inflated: number;
  /** What its guard has against it; null: nothing. */
  readonly why: string | null;
}

interface Cart {
  readonly locations: ReadonlySet<string>;
  readonly guard: CartGuard;
  readonly listings: number;
  changed: number;
  zeroed: number;
  inflated: number;
}

type Row = ListingFactsRow & { readonly expected: string };

/**
 * Counts while the file is gone through, all changes of an item at once. Listings that are kits are looked at with each part
 * that changes, and counted once for each kind of harm.
 */
export class CartImpacts {
  private known: { readonly settings: AvailabilitySettings; readonly carts: Map<string, Cart> } | undefined;
  private readonly kitsTold = new Set<string>();

  constructor(private readonly database: Pick<Database, 'pool'>) {}

  async add(moved: readonly MovedStock[]): Promise<void> {
    if (moved.length === 0) return;
    const { pool } = this.database;
    this.known ??= { settings: await readSettings(pool), carts: await cartsInEffect(pool) };
    const { settings, carts } = this.known;
    if (carts.size === 0) return;
    const changes = bySku(moved);
    const facts = listingFactsSql(settings, true);
    const { rows } = await pool.query<Row>({
      name: `reset-impacts-${facts.name}`,
      text: `WITH moved AS MATERIALIZED (SELECT unnest($1::text[]) AS sku),
             touched AS MATERIALIZED (
               SELECT t.cart_id, t.key FROM moved m JOIN listings t ON t.sku = m.sku
               UNION
               SELECT t.cart_id, t.key FROM moved m JOIN kit_parts p ON p.sku = m.sku JOIN listings t ON t.sku = p.kit)
             SELECT ${facts.columns}
               FROM touched t CROSS JOIN LATERAL (SELECT * FROM listings x WHERE x.cart_id = t.cart_id AND x.key = t.key) AS l
               JOIN carts c ON c.cart_id = l.cart_id AND c.generation = l.generation
              WHERE c.is_on AND l.expected IS NOT NULL`,
      values: [[...changes.keys()]],
    });
    for (const row of rows) {
      const cart = carts.get(row.cart_id);
      if (cart !== undefined) this.count(row, cart, changes, settings);
    }
  }

  /** Carts that would be told anything, the worst first. */
  told(): CartImpact[] {
    const { carts = new Map<string, Cart>() } = this.known ?? {};
    return [...carts]
      .filter(([, { changed }]) => changed > 0)
      .map(([cartId, { guard, listings, changed, zeroed, inflated }]) => {
        const why = whyHeld({ zeroed, inflated, listings }, guard);
        return { cartId, listings, changed, zeroed, inflated, why };
      })
      .toSorted((a, b) => b.zeroed + b.inflated - (a.zeroed + a.inflated) || (a.cartId < b.cartId ? -1 : 1));
  }

  private count(
    row: Row,
    cart: Cart,
    changes: ReadonlyMap<string, readonly MovedStock[]>,
    settings: AvailabilitySettings,
  ) {
    const before = Number(row.expected);
    const { target: after } = evaluate(factsOf(changed(row, cart, changes), before), settings.book, settings.calendar);
    if (after === before) return;
    const isNews = (harm: string) => {
      const name = `${harm} ${row.cart_id}/${row.key}`;
      if (!row.parts || this.kitsTold.has(name)) return !row.parts;
      this.kitsTold.add(name);
      return true;
    };
    if (isNews('changed')) cart.changed += 1;
    if (isZeroed(before, after) && isNews('zeroed')) cart.zeroed += 1;
    const stocked = [row.sku, ...(row.parts ?? []).map(({ sku }) => sku)].some((sku) =>
      changes.get(sku)?.some(([, , , known]) => known),
    );
    if (stocked && isInflated(before, after) && isNews('inflated')) cart.inflated += 1;
  }
}

function bySku(moved: readonly MovedStock[]): Map<string, MovedStock[]> {
  const found = new Map<string, MovedStock[]>();
  for (const one of moved) {
    const of = found.get(one[0]);
    if (of === undefined) found.set(one[0], [one]);
    else of.push(one);
  }
  return found;
}

/** The facts of a listing as they would be with the changes in them. */
function changed(row: Row, cart: Cart, changes: ReadonlyMap<string, readonly MovedStock[]>): Row {
  const stockWith = (sku: string, stock: ListingFactsRow['stock']): NonNullable<ListingFactsRow['stock']> => {
    const of = changes.get(sku) ?? [];
    const there = (stock ?? []).map(([location, onHand, seenAt, own]) => {
      const delta = of.find(([, at]) => at === location)?.[2] ?? 0;
      return [location, onHand + delta, seenAt, own] as const;
    });
    const places = new Set(there.map(([location]) => location));
    const fresh = of
      .filter(([, location]) => !places.has(location))
      .map(([, location, delta]) => [location, delta, null, cart.locations.has(location)] as const);
    return [...there, ...fresh];
  };
  return {
    ...row,
    stock: stockWith(row.sku, row.stock),
    ...(row.parts && { parts: row.parts.map((part) => ({ ...part, stock: stockWith(part.sku, part.stock) })) }),
  };
}

/** Carts that are told of changes: what is off shows what it shows until it is compared. */
async function cartsInEffect(pool: Pool): Promise<Map<string, Cart>> {
  const { rows } = await pool.query<{ id: string; guard: CartGuard | null; locations: string[]; listings: number }>(
    `SELECT c.cart_id AS id, c.settings->'guard' AS guard, n.listings,
            ARRAY(SELECT cl.location FROM cart_locations cl WHERE cl.cart_id = c.cart_id) AS locations
       FROM carts c JOIN system_switch s ON s.id = 1
      CROSS JOIN LATERAL (SELECT count(*)::int AS listings FROM listings l
                           WHERE l.cart_id = c.cart_id AND l.generation = c.generation AND l.expected IS NOT NULL) AS n
      WHERE c.is_on AND s.is_on ORDER BY c.cart_id`,
  );
  return new Map(
    rows.map(({ id, guard, locations, listings }) => [
      id,
      { locations: new Set(locations), guard: guard ?? usualGuard, listings, changed: 0, zeroed: 0, inflated: 0 },
    ]),
  );
}
