import type { PoolClient } from 'pg';
import type { RecordedFact } from '../events/event-reader.js';
import { cartOf, type Fact } from '../events/facts.js';
import { everything, type RuleScope } from '../events/rule.js';
import { allOf, together } from '../packets.js';
import { keepAvailabilitySetting, readSettings } from './availability/availability-settings.js';
import { beginKitRecompute, beginRecompute } from './availability/recompute-runs.js';
import { baselineListings, discardRecords, mapListings, supersedeWaiting } from './baselines.js';
import { beginFanOut, fanOut, kitListingsMax, type Cause, type Echo, type FannedOut, type Touched } from './fan-out.js';
import { decidePush } from './guard.js';
import { keepKits, type ChangedKits } from './kits.js';
import { noteLate } from './late-items.js';
import { rememberListings } from './listing-memory.js';
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

/** Everything that a batch writes is on its way to the database; it is applied where `written` resolves. */
export type BegunBatch = BatchResult & Pick<FannedOut, 'written'>;

/**
 * Applies a batch of facts in their global order. Movements and orders add up, so a run of them is applied as one set;
 * a setting stands exactly where it stands and divides the run before it from the run after it.
 *
 * @param later the listings of items that moved are looked at later, see late-items.ts
 * @returns before its last writes were answered, so that a COMMIT can travel with them
 */
export async function beginBatch(
  client: PoolClient,
  facts: readonly RecordedFact[],
  later = false,
): Promise<BegunBatch> {
  let records = 0;
  let lanesChanged = false;
  let run: RecordedFact[] = [];
  for (const recorded of facts) {
    if (!isSetting(recorded.fact)) {
      run.push(recorded);
      continue;
    }
    const before = await beginRun(client, run, later);
    await before.written;
    run = [];
    records += before.records + (await applySetting(client, recorded));
    lanesChanged = true;
  }
  const last = await beginRun(client, run, later);
  return { records: records + last.records, lanesChanged, written: last.written };
}

/** As {@link beginBatch}, written. */
export async function applyBatch(client: PoolClient, facts: readonly RecordedFact[]): Promise<BatchResult> {
  const { written, ...result } = await beginBatch(client, facts);
  await written;
  return result;
}

const settingTypes: ReadonlySet<string> = new Set<Fact['type']>([
  'CartAdded',
  'CartChanged',
  'CartProbed',
  'ScriptVersionSeen',
  'CartSwitched',
  'SystemSwitched',
  'ListingsMapped',
  'ListingsBaselined',
  'RecordsDiscarded',
  'PushDecided',
  'RuleSaved',
  'RuleRemoved',
  'RuleRestored',
  'DayClosed',
]);

const isSetting = (fact: Fact) => settingTypes.has(fact.type);

const nothing: FannedOut = { records: 0, written: Promise.resolve() };

/**
 * The sums, and then the listings that they concern. What asks nothing of the database before it locks those, which is most runs,
 * locks them in the packet of the sums.
 */
async function beginRun(client: PoolClient, run: readonly RecordedFact[], later: boolean): Promise<FannedOut> {
  if (run.length === 0) return nothing;
  const described = await describe(client, run);
  const summed = allOf(
    together(client, () => [
      addToQuantityOnHand(client, run),
      addToOpenOrderLines(client, run),
      addToVelocity(client, run),
    ]),
  );
  const [fannedOut] = await allOf([beginListings(client, run, described, later), summed]);
  return fannedOut;
}

async function beginListings(
  client: PoolClient,
  run: readonly RecordedFact[],
  described: readonly string[],
  later: boolean,
): Promise<FannedOut> {
  const kits = await keepKits(client, run);
  const echoes = [...run.flatMap(echoesOf), ...(await partEchoesOf(client, run))];
  const skus = causesBySku(run);
  // Rules may speak of tags, and a described item may have others now.
  if (described.length > 0 && (await readSettings(client)).book.usesTags) addDescribed(skus, run);
  await addKits(client, skus, kits, run);
  if (later) await noteLate(client, skus);
  if (echoes.length === 0 && (later || skus.size === 0)) return nothing;
  const otherwise = causeOf(run[run.length - 1] as RecordedFact, 1);
  return beginFanOut(client, { skus, listings: [], echoes, otherwise, skusLater: later });
}

async function applySetting(client: PoolClient, recorded: RecordedFact): Promise<number> {
  const { fact } = recorded;
  const touch = (listings: Touched['listings']): Touched => ({
    skus: new Map(),
    listings,
    echoes: [],
    otherwise: causeOf(recorded, 1),
  });
  const since = recorded.recordedAt.toISOString();
  const remember = (cartId: string, keys: readonly string[]) =>
    rememberListings(
      client,
      keys.map((key) => ({ cartId, key, since })),
    );
  const lookAgain = (scopes: readonly RuleScope[]) => beginRecompute(client, scopes, causeOf(recorded, 1));
  switch (fact.type) {
    case 'CartAdded':
    case 'CartProbed':
    case 'ScriptVersionSeen':
      await applyCartSetting(client, recorded);
      return 0;
    case 'CartChanged':
      if (await applyCartSetting(client, recorded)) await lookAgain([{ ...everything, cart: fact.data.cartId }]);
      return 0;
    case 'CartSwitched':
      // On again too: what was under way when the cart was switched off may have come back since.
      if (await applyCartSetting(client, recorded)) await lookAgain([{ ...everything, cart: fact.data.cartId }]);
      await supersedeWaiting(client, fact.data.cartId);
      return 0;
    case 'SystemSwitched':
      if (await applyCartSetting(client, recorded)) await lookAgain([everything]);
      return 0;
    case 'RuleSaved':
    case 'RuleRemoved':
    case 'RuleRestored':
    case 'DayClosed':
      await lookAgain(await keepAvailabilitySetting(client, fact, recorded));
      return 0;
    case 'ListingsMapped':
      await mapListings(client, fact.data.cartId, fact.data.rows);
      await remember(
        fact.data.cartId,
        fact.data.rows.map(({ key }) => key),
      );
      await forgetMapped(client, fact.data.cartId, fact.data.rows);
      return 0;
    case 'ListingsBaselined': {
      const keys = await baselineListings(client, fact.data);
      const touched = touch(keys.map((key) => ({ cartId: fact.data.cartId, key })));
      const made = await fanOut(client, {
        ...touched,
        echoes: takenOverEchoes(fact.data, new Set(keys)),
        behind: fact.data.run !== undefined,
      });
      await remember(fact.data.cartId, keys);
      return made;
    }
    case 'PushDecided':
      await remember(fact.data.cartId, await decidePush(client, fact.data));
      return 0;
    case 'RecordsDiscarded': {
      await discardRecords(client, fact.data);
      const made = await fanOut(client, touch([fact.data]));
      await remember(fact.data.cartId, [fact.data.key]);
      return made;
    }
    default:
      throw new Error(`${fact.type} is not a setting`);
  }
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

/** What a cart did to the listings of a kit's components itself; of several listings of one item, to that called like it. */
async function partEchoesOf(client: PoolClient, run: readonly RecordedFact[]): Promise<Echo[]> {
  const wanted = run.flatMap((recorded) => {
    const { fact } = recorded;
    if (fact.type !== 'OrderImported') return [];
    return fact.data.differences.flatMap((difference) =>
      (difference.partEchoes ?? []).flatMap(({ sku, delta }) =>
        echoesOf({
          ...recorded,
          fact: { ...fact, data: { ...fact.data, differences: [{ ...difference, echoDelta: delta }] } },
        }).map((echo) => ({ sku, echo })),
      ),
    );
  });
  if (wanted.length === 0) return [];
  const found = await client.query<{ cart_id: string; sku: string; key: string }>({
    name: 'listings-of-parts',
    text: `SELECT DISTINCT ON (l.cart_id, l.sku) l.cart_id, l.sku, l.key
             FROM unnest($1::text[], $2::text[]) AS t (cart_id, sku)
             JOIN listings l ON l.cart_id = t.cart_id AND l.sku = t.sku
            ORDER BY l.cart_id, l.sku, l.key <> l.sku, l.key`,
    values: [wanted.map(({ echo }) => echo.cartId), wanted.map(({ sku }) => sku)],
  });
  const keys = new Map(found.rows.map(({ cart_id, sku, key }) => [`${cart_id}/${sku}`, key]));
  return wanted.flatMap(({ sku, echo }) => {
    const key = keys.get(`${echo.cartId}/${sku}`);
    return key === undefined ? [] : [{ ...echo, key }];
  });
}

/** Kits that are made of something else now, and the kits that contain them; more than a batch can take are a run. */
async function addKits(
  client: PoolClient,
  causes: Map<string, Cause>,
  { told, affected }: ChangedKits,
  run: readonly RecordedFact[],
): Promise<void> {
  if (told.length === 0) return;
  const last = run.findLast(({ fact }) => fact.type === 'KitSet');
  if (last === undefined) return;
  const cause = causeOf(last, 1);
  const now = affected.length > kitListingsMax ? told : affected;
  for (const sku of now) if (!causes.has(sku)) causes.set(sku, cause);
  if (now !== affected) await beginKitRecompute(client, told, cause);
}

/**
 * What was taken over from a listing that could not be baselined all the same (something was sold of it meanwhile): the
 * cart shows it already, so it is told nothing of it, and the next reading must not find it a second time.
 */
function takenOverEchoes(
  { cartId, at, rows }: Extract<Fact, { type: 'ListingsBaselined' }>['data'],
  baselined: ReadonlySet<string>,
): Echo[] {
  return rows.flatMap(({ key, takenOver }) =>
    takenOver === undefined || baselined.has(key)
      ? []
      : [
          {
            cartId,
            key,
            delta: takenOver,
            orderNumber: 'taken over',
            line: '',
            firstSight: false,
            placedAt: at,
            seenAfter: null,
            seenBy: at,
          },
        ],
  );
}

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

/** An item that only got other tags; a movement of the same batch is the better cause. */
function addDescribed(causes: Map<string, Cause>, run: readonly RecordedFact[]): void {
  for (const recorded of run) {
    const { fact } = recorded;
    if (fact.type !== 'ItemCreated' && fact.type !== 'ItemChanged') continue;
    if (!causes.has(fact.data.sku)) causes.set(fact.data.sku, causeOf(recorded, 1));
  }
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
