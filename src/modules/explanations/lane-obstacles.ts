import type { PoolClient } from 'pg';
import { KnownMoments } from '../../cart-workers/cadence.js';
import { connectorFor } from '../../cart-workers/connectors/index.js';
import { mayBeginSql } from '../../cart-workers/lane-openings.js';
import type { Cadence } from '../../events/facts.js';

export interface Lane {
  /** Why its lane sends nothing at this moment, in a sentence; null: it does. */
  readonly obstacle: string | null;
  /** What its cart can be asked of an item beside its number. */
  readonly flags: readonly ('hide' | 'backorder')[];
}

interface LaneRow {
  readonly cart_id: string;
  readonly name: string;
  readonly type: string;
  readonly paused: boolean;
  readonly paused_by: string | null;
  readonly paused_reason: string | null;
  readonly down_since: Date | null;
  readonly last_response: string | null;
  readonly comparing: boolean | null;
  readonly cadence: Cadence | null;
  /** What waits at it waits for the next opening. */
  readonly paced: boolean;
  readonly now: Date;
}

const moments = new KnownMoments();

/** The lanes of these carts, without counting what waits in them. */
export async function lanesOf(
  client: PoolClient,
  sku: string,
  listings: readonly { readonly cartId: string }[],
): Promise<Map<string, Lane>> {
  const { rows } = await client.query<LaneRow>({
    name: 'explained-lanes',
    text: `SELECT l.cart_id, c.settings->>'name' AS name, c.settings->>'type' AS type, l.paused, l.paused_by, l.paused_reason, l.down_since, l.last_response,
                  l.comparing_until > clock_timestamp() AS comparing, c.settings->'cadence' AS cadence, clock_timestamp() AS now,
                  EXISTS (SELECT FROM web_stack w JOIN listings k USING (cart_id, key)
                           WHERE w.cart_id = l.cart_id AND k.sku = $2 AND w.state = 'waiting' AND NOT ${mayBeginSql('w', 'c', 'l')}) AS paced
             FROM lanes l JOIN carts c ON c.cart_id = l.cart_id WHERE l.cart_id = ANY ($1::text[])`,
    values: [[...new Set(listings.map(({ cartId }) => cartId))], sku],
  });
  return new Map(
    rows.map((row) => [
      row.cart_id,
      { obstacle: obstacleOf(row), flags: connectorFor(row.type).capabilities.flags ?? [] },
    ]),
  );
}

function obstacleOf(row: LaneRow): string | null {
  if (row.paused) {
    const why = row.paused_reason === null ? '' : `: ${row.paused_reason}`;
    return `The lane of ${row.name} is paused by ${row.paused_by ?? 'somebody'}${why}.`;
  }
  if (row.comparing === true) return `${row.name} is being compared, and is told afterwards.`;
  if (row.down_since !== null)
    return `${row.name} is down since ${row.down_since.toISOString()}: ${row.last_response ?? 'no answer'}.`;
  return row.paced ? waitsFor(row) : null;
}

function waitsFor({ name, cadence, now }: LaneRow): string {
  if (cadence?.kind !== 'cron') return `${name} is told on demand: the change waits for \`onhand carts send-now\`.`;
  const next = moments.around(cadence, now).next;
  const when = next === null ? 'its next opening' : `the next opening at ${next.toISOString()}`;
  return `${name} is told at the moments of "${cadence.pattern}" (${cadence.timeZone}): the change waits for ${when}.`;
}

/** What carts said no to of the flags of an item, by `cart/key`: their last answer. It is asked again once an hour. */
export async function refusedFlags(client: PoolClient, sku: string): Promise<Map<string, string>> {
  const { rows } = await client.query<{ cart_id: string; key: string; last_response: string | null }>({
    name: 'refused-flags',
    text: `SELECT f.cart_id, f.key, f.last_response
             FROM listings l JOIN flag_calls f ON f.cart_id = l.cart_id AND f.key = l.key AND f.said = l.shown
            WHERE l.sku = $1 AND f.refused`,
    values: [sku],
  });
  return new Map(rows.map((row) => [`${row.cart_id}/${row.key}`, row.last_response ?? 'no answer']));
}
