import type { PoolClient } from 'pg';
import type { RecordedFact } from '../events/event-reader.js';
import { cartOf, type Fact } from '../events/facts.js';
import { baselineListings, discardRecords, mapListings, supersedeWaiting } from './baselines.js';
import { fanOut, type Echo, type Touched } from './fan-out.js';
import type { RecordCause } from './listings.table.js';
import { addToOpenOrderLines } from './open-order-lines.js';
import { addToQuantityOnHand } from './quantity-on-hand.js';
import { applyCartSetting, describe } from './settings.js';
import { forgetMapped } from './unknown-skus.js';
import { addToVelocity } from './velocity.js';

export interface BatchResult {
  readonly records: number;
  /** Carts, switches or listings changed: lanes may have to open, close or look again. */
  readonly lanesChanged: boolean;
}

/**
 * Applies a batch of facts in their global order. Movements and orders add up, so a run of them is applied as one set;
 * a setting stands exactly where it stands and divides the run before it from the run after it.
 */
export async function applyBatch(client: PoolClient, facts: readonly RecordedFact[]): Promise<BatchResult> {
  let records = 0;
  let lanesChanged = false;
  let run: RecordedFact[] = [];
  for (const recorded of facts) {
    if (!isSetting(recorded.fact)) {
      run.push(recorded);
      continue;
    }
    records += await applyRun(client, run);
    run = [];
    records += await applySetting(client, recorded);
    lanesChanged = true;
  }
  records += await applyRun(client, run);
  return { records, lanesChanged };
}

const settingTypes: ReadonlySet<string> = new Set<Fact['type']>([
  'CartAdded',
  'CartChanged',
  'CartProbed',
  'CartSwitched',
  'SystemSwitched',
  'ListingsMapped',
  'ListingsBaselined',
  'RecordsDiscarded',
]);

const isSetting = (fact: Fact) => settingTypes.has(fact.type);

async function applyRun(client: PoolClient, run: readonly RecordedFact[]): Promise<number> {
  if (run.length === 0) return 0;
  await describe(client, run);
  await addToQuantityOnHand(client, run);
  await addToOpenOrderLines(client, run);
  await addToVelocity(client, run);
  const echoes = run.flatMap(echoesOf);
  const skus = causesBySku(run);
  if (skus.size === 0 && echoes.length === 0) return 0;
  return fanOut(client, { skus, listings: [], echoes, otherwise: causeOf(run[run.length - 1] as RecordedFact, 1) });
}

async function applySetting(client: PoolClient, recorded: RecordedFact): Promise<number> {
  const { fact } = recorded;
  const touch = (listings: Touched['listings']): Touched => ({
    skus: new Map(),
    listings,
    echoes: [],
    otherwise: causeOf(recorded, 1),
  });
  switch (fact.type) {
    case 'CartAdded':
    case 'CartProbed':
      await applyCartSetting(client, recorded);
      return 0;
    case 'CartChanged':
      await applyCartSetting(client, recorded);
      return fanOutCart(client, fact.data.cartId, touch);
    case 'CartSwitched':
      await applyCartSetting(client, recorded);
      // On again too: what was under way when the cart was switched off may have come back since.
      await supersedeWaiting(client, fact.data.cartId);
      if (!fact.data.on) return 0;
      return fanOutCart(client, fact.data.cartId, touch);
    case 'SystemSwitched':
      await applyCartSetting(client, recorded);
      return fact.data.on ? fanOutCart(client, null, touch) : 0;
    case 'ListingsMapped':
      await mapListings(client, fact.data.cartId, fact.data.rows);
      await forgetMapped(client, fact.data.cartId, fact.data.rows);
      return 0;
    case 'ListingsBaselined': {
      const keys = await baselineListings(client, fact.data);
      return fanOut(client, touch(keys.map((key) => ({ cartId: fact.data.cartId, key }))));
    }
    case 'RecordsDiscarded':
      await discardRecords(client, fact.data);
      return fanOut(client, touch([fact.data]));
    default:
      throw new Error(`${fact.type} is not a setting`);
  }
}

/** Listings of one fan-out when a setting touches a whole cart. */
const chunkSize = 1000;

/** @param cartId null: every cart */
async function fanOutCart(
  client: PoolClient,
  cartId: string | null,
  touch: (listings: Touched['listings']) => Touched,
): Promise<number> {
  const found = await client.query<{ cart_id: string; key: string }>(
    `SELECT l.cart_id, l.key FROM listings l JOIN carts c USING (cart_id)
      WHERE ($1::text IS NULL OR l.cart_id = $1) AND l.generation = c.generation AND l.expected IS NOT NULL
      ORDER BY l.cart_id, l.key`,
    [cartId],
  );
  let records = 0;
  for (let at = 0; at < found.rows.length; at += chunkSize) {
    const chunk = found.rows.slice(at, at + chunkSize).map((row) => ({ cartId: row.cart_id, key: row.key }));
    records += await fanOut(client, touch(chunk));
  }
  return records;
}

function echoesOf({ fact, version }: RecordedFact): Echo[] {
  if (fact.type !== 'OrderImported') return [];
  const { source, number, placedAt, sighting, differences } = fact.data;
  const cartId = cartOf(source);
  if (cartId === null) return [];
  return differences
    .filter((difference) => difference.echoDelta !== 0)
    .map((difference) => ({
      cartId,
      key: difference.key,
      delta: difference.echoDelta,
      orderNumber: number,
      line: difference.line,
      firstSight: version === '1',
      placedAt,
      seenAfter: sighting.after,
      seenBy: sighting.by,
    }));
}

type Cause = RecordCause & { readonly acceptedAt: string };

/** The last movement of each SKU names the record, the first one's time says since when the cart is to know. */
function causesBySku(run: readonly RecordedFact[]): Map<string, Cause> {
  const causes = new Map<string, Cause>();
  for (const recorded of run) {
    if (recorded.sku === null || recorded.delta === null) continue;
    const known = causes.get(recorded.sku);
    const cause = causeOf(recorded, (known?.facts ?? 0) + 1);
    causes.set(recorded.sku, known === undefined ? cause : { ...cause, acceptedAt: known.acceptedAt });
  }
  return causes;
}

function causeOf(recorded: RecordedFact, facts: number): Cause {
  const recordedAt = recorded.recordedAt.toISOString();
  const data = recorded.fact.data;
  const reference = 'reference' in data ? data.reference : null;
  return {
    type: recorded.fact.type,
    stream: recorded.stream,
    version: recorded.version,
    recordedAt,
    facts,
    reference: reference === null ? null : { kind: reference.kind, number: reference.number },
    acceptedAt: recordedAt,
  };
}
