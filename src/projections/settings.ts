import type { PoolClient } from 'pg';
import type { RecordedFact } from '../events/event-reader.js';
import type { Fact } from '../events/facts.js';
import { lockListings } from './baselines.js';
import { describeItems } from './items.js';
import { waitStatesSql } from './listings.table.js';
import { keepUnknownSkus } from './unknown-skus.js';

/**
 * Facts that only describe (items, locations, orders): a whole batch of them goes at once.
 * @returns the SKUs that were described: where rules ask for tags, their listings have to be looked at
 */
export async function describe(client: PoolClient, facts: readonly RecordedFact[]): Promise<readonly string[]> {
  const describedSkus = await describeItems(client, facts);
  await describeLocations(client, facts);
  await describeOrders(client, facts);
  await describeResetSources(client, facts);
  await closeOrders(client, facts);
  await keepUnknownSkus(client, facts, describedSkus);
  return describedSkus;
}

/**
 * Cart settings and switches, one at a time and in their place.
 * @returns whether the cart's listings have to be looked at
 */
export async function applyCartSetting(client: PoolClient, recorded: RecordedFact): Promise<boolean> {
  const { fact, version } = recorded;
  switch (fact.type) {
    case 'CartAdded':
    case 'CartChanged':
      await client.query(
        `INSERT INTO carts AS c (cart_id, settings, settings_version) VALUES ($1, $2, $3)
         ON CONFLICT (cart_id) DO UPDATE SET settings = excluded.settings, settings_version = excluded.settings_version,
           -- Findings about another address say nothing.
           probe = CASE WHEN c.settings->>'url' = excluded.settings->>'url'
                         AND c.settings->>'storeCode' = excluded.settings->>'storeCode' THEN c.probe END
          WHERE c.settings_version < excluded.settings_version`,
        [fact.data.cartId, fact.data, version],
      );
      await letGoWhatWaited(client, fact.data.cartId);
      return keepLocations(client, fact.data.cartId);
    case 'CartProbed':
      await client.query(
        `UPDATE carts SET probe = $2, probe_version = $3,
                script_version = CASE WHEN script_version_version > $3 THEN script_version END
          WHERE cart_id = $1 AND probe_version < $3
            AND settings->>'url' = $4 AND settings->>'storeCode' = $5`,
        [fact.data.cartId, fact.data, version, fact.data.url, fact.data.storeCode],
      );
      return false;
    case 'ScriptVersionSeen':
      await client.query(
        `UPDATE carts SET script_version = $2, script_version_version = $3
          WHERE cart_id = $1 AND script_version_version < $3 AND probe_version < $3`,
        [fact.data.cartId, fact.data.scriptVersion, version],
      );
      return false;
    case 'CartSwitched':
      await client.query(
        `UPDATE carts SET is_on = $2, generation = $3, switch_version = $4, switched_at = $5 WHERE cart_id = $1 AND switch_version < $4`,
        [fact.data.cartId, fact.data.on, fact.data.generation, version, recorded.recordedAt],
      );
      return fact.data.on;
    case 'SystemSwitched':
      await client.query(
        `INSERT INTO system_switch AS s (id, is_on, version) VALUES (1, $1, $2)
         ON CONFLICT (id) DO UPDATE SET is_on = excluded.is_on, version = excluded.version WHERE s.version < excluded.version`,
        [fact.data.on, version],
      );
      return fact.data.on;
    default:
      throw new Error(`${fact.type} is not a cart setting`);
  }
}

/** What was accepted while the cart was told at once does not wait for a cadence that it was given since. */
async function letGoWhatWaited(client: PoolClient, cartId: string): Promise<void> {
  const paced = await client.query('SELECT FROM carts WHERE cart_id = $1 AND is_paced', [cartId]);
  if (paced.rowCount === 0) return;
  await lockListings(client, cartId, null);
  await client.query(
    `UPDATE web_stack SET paced_at = to_timestamp(0) WHERE cart_id = $1 AND state IN ${waitStatesSql} AND paced_at IS NULL`,
    [cartId],
  );
}

/** @returns whether they are others than before */
async function keepLocations(client: PoolClient, cartId: string): Promise<boolean> {
  const wanted = `SELECT l.value FROM carts c, jsonb_array_elements_text(c.settings->'locations') AS l WHERE c.cart_id = $1`;
  const gone = await client.query(`DELETE FROM cart_locations WHERE cart_id = $1 AND location NOT IN (${wanted})`, [
    cartId,
  ]);
  const added = await client.query(
    `INSERT INTO cart_locations (cart_id, location) SELECT $1, w.value FROM (${wanted}) w ON CONFLICT DO NOTHING`,
    [cartId],
  );
  return (gone.rowCount ?? 0) + (added.rowCount ?? 0) > 0;
}

async function describeLocations(client: PoolClient, facts: readonly RecordedFact[]): Promise<void> {
  const latest = latestBy(facts, 'LocationAdded', 'LocationChanged');
  if (latest.length === 0) return;
  await client.query({
    name: 'describe-locations',
    text: `INSERT INTO locations AS l (location, name, other_codes, version)
           SELECT r.location, r.name, coalesce(r."otherCodes", '{}'), r.version
             FROM jsonb_to_recordset($1::jsonb) AS r (location text, name text, "otherCodes" text[], version bigint)
            ORDER BY r.location COLLATE "C"
           ON CONFLICT (location) DO UPDATE
              SET name = excluded.name, other_codes = excluded.other_codes, version = excluded.version
            WHERE l.version < excluded.version`,
    values: [JSON.stringify(latest)],
  });
}

async function describeResetSources(client: PoolClient, facts: readonly RecordedFact[]): Promise<void> {
  const latest = latestBy(facts, 'ResetSourceSaved', 'ResetSourceRemoved');
  for (const { type, version, recordedAt: _recordedAt, ...settings } of latest) {
    await client.query({
      name: 'describe-reset-source',
      text: `INSERT INTO reset_sources AS s (source_id, settings, removed, version) VALUES ($1, $2, $3, $4)
             ON CONFLICT (source_id) DO UPDATE
                SET settings = CASE WHEN excluded.removed THEN s.settings ELSE excluded.settings END,
                    removed = excluded.removed, version = excluded.version
              WHERE s.version < excluded.version`,
      values: [settings['sourceId'], settings, type === 'ResetSourceRemoved', version],
    });
  }
}

async function describeOrders(client: PoolClient, facts: readonly RecordedFact[]): Promise<void> {
  const latest = latestBy(facts, 'OrderImported');
  if (latest.length === 0) return;
  await client.query({
    name: 'describe-orders',
    text: `INSERT INTO orders AS o (source, number, revision, state, placed_at, lines, version, imported_at)
           SELECT r.source, r.number, r.revision, r.state, r."placedAt", r.lines, r.version, r."recordedAt"
             FROM jsonb_to_recordset($1::jsonb)
                  AS r (source text, number text, revision bigint, state text, "placedAt" timestamptz, lines jsonb,
                        version bigint, "recordedAt" timestamptz)
            ORDER BY r.source COLLATE "C", r.number COLLATE "C"
           ON CONFLICT (source, number) DO UPDATE
              SET revision = excluded.revision, state = excluded.state, placed_at = excluded.placed_at,
                  lines = excluded.lines, version = excluded.version, imported_at = excluded.imported_at
            WHERE o.version < excluded.version`,
    values: [JSON.stringify(latest)],
  });
}

/** Orders that the API shipped, filled or closed to the last piece; the order's lines stay as the cart told them. */
async function closeOrders(client: PoolClient, facts: readonly RecordedFact[]): Promise<void> {
  const complete = latestBy(facts, 'OrderShipped', 'OrderFilled', 'OrderClosed').filter(
    (row) => row['complete'] === true,
  );
  if (complete.length === 0) return;
  await client.query({
    name: 'close-orders',
    text: `UPDATE orders o SET state = CASE r.type WHEN 'OrderClosed' THEN 'closed' ELSE 'shipped' END, version = r.version
             FROM jsonb_to_recordset($1::jsonb) AS r (source text, number text, type text, version bigint)
            WHERE o.source = r.source AND o.number = r.number AND o.state = 'open' AND o.version < r.version`,
    values: [JSON.stringify(complete)],
  });
}

/** The last fact of each stream among the given types: they all tell whole states. */
function latestBy(facts: readonly RecordedFact[], ...types: Fact['type'][]): Record<string, unknown>[] {
  const latest = new Map<string, RecordedFact>();
  for (const recorded of facts) {
    if (!types.includes(recorded.fact.type)) continue;
    const known = latest.get(recorded.stream);
    if (known === undefined || BigInt(known.version) < BigInt(recorded.version)) latest.set(recorded.stream, recorded);
  }
  return [...latest.values()].map(({ fact, version, recordedAt }) => ({
    ...fact.data,
    type: fact.type,
    version,
    recordedAt,
  }));
}
