import { randomUUID } from 'node:crypto';
import { ProjectionWork } from '../../src/modules/projections/projection-work.js';
import type { RebuildName } from '../../src/projections/rebuild.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { until } from '../support/until.js';

export const tradeSkus = Array.from({ length: 12 }, (_, n) => `T${String(n).padStart(2, '0')}`);

/** A hub with a projector, a cart `a` that sells MAIN and was compared, and no worker: nothing is sent. */
export async function givenTrade(): Promise<Harness> {
  const hub = await createHarness({ backend: 'postgres', workers: false });
  await hub.stockUp(Object.fromEntries(tradeSkus.map((sku) => [sku, 50])));
  const cart = { name: 'A', connector: 'webhook', url: 'http://127.0.0.1:1/', username: '', storeCode: '' } as const;
  const timing = { requestTimeoutMs: 1_000, quietTimeMs: 300, pollIntervalMs: 1_000, clampsAtZero: false };
  await hub.ask({ type: 'AddCart', cartId: 'a', ...cart, locations: ['MAIN'], orderLocation: 'MAIN', ...timing });
  await hub.ask({ type: 'MapListings', cartId: 'a', rows: tradeSkus.map((sku) => ({ key: sku, sku })) });
  await hub.ask({ type: 'SwitchCart', cartId: 'a', on: true });
  const rows = tradeSkus.map((sku) => ({ key: sku, sku, quantity: 48 }));
  const at = new Date().toISOString();
  await hub.ask({ type: 'BaselineListings', cartId: 'a', kind: 'write', at, mark: null, rows });
  await hub.projector.caughtUp(20_000);
  return hub;
}

/** One of the things that happen all day; `n` names it. */
export async function trade(hub: Harness, n: number): Promise<void> {
  const sku = tradeSkus[n % tradeSkus.length] as string;
  switch (n % 5) {
    case 0:
      await hub.ask({ type: 'ReceiveStock', sku, location: 'MAIN', quantity: 1 + (n % 7) });
      return;
    case 1:
      await hub.ask({ type: 'SellStock', sku, location: 'MAIN', quantity: 1 + (n % 3) });
      return;
    case 2:
      await hub.ask({ type: 'ReturnStock', sku, location: 'MAIN', quantity: 1, resellable: n % 2 === 0 });
      return;
    default:
      await hub.ask({
        type: 'ImportOrder',
        source: 'cart:a',
        number: String(n),
        revision: 1,
        state: n % 5 === 3 ? 'open' : 'cancelled',
        lines: [{ line: '1', sku, key: sku, location: 'MAIN', quantity: 1 + (n % 4) }],
        sighting: { after: null, by: new Date().toISOString() },
        cartMovesStock: { at: 'order', restocksOnCancel: true },
      });
  }
}

/** A run as the API begins it; the work is done by the test, so that it may break off. */
export async function givenRun(hub: Harness, projection: RebuildName | 'all', apply = false): Promise<string> {
  const id = randomUUID();
  const [kind, phase] = projection === 'all' ? ['verify', 'verifying'] : ['rebuild', 'comparing'];
  await hub.rows(
    'INSERT INTO projection_runs (id, kind, projection, apply, by, phase) VALUES ($1, $2, $3, $4, $5, $6)',
    id,
    kind,
    projection,
    apply,
    'test',
    phase,
  );
  return id;
}

export interface ShownRun {
  readonly state: string;
  readonly found: number;
  readonly mended: number;
  readonly records: number;
  readonly done: number;
  readonly listings: number;
  readonly cursor: string;
  readonly fault: string | null;
  readonly stopped: { readonly type: string } | null;
}

export async function work(hub: Harness, id: string, stopping = () => false): Promise<ShownRun> {
  await new ProjectionWork(hub.database).run(id, stopping);
  return shownRun(hub, id);
}

export async function shownRun(hub: Harness, id: string): Promise<ShownRun> {
  const [run] = await hub.rows<ShownRun>(
    `SELECT state, found::int, mended::int, records::int, done::int, listings::int, cursor, fault, stopped
       FROM projection_runs WHERE id = $1`,
    id,
  );
  return run as ShownRun;
}

export const rebuilt = async (hub: Harness, name: RebuildName, apply = true) =>
  work(hub, await givenRun(hub, name, apply));
export const verified = async (hub: Harness) => work(hub, await givenRun(hub, 'all'));

/** Other databases of the cluster may hold the readers' horizon for a moment; a step would find no fact, only the run. */
export const untilBelowHorizon = (hub: Harness) =>
  until('every fact is below the horizon', async () => {
    const [facts] = await hub.rows<{ settled: boolean }>(
      'SELECT max(transaction_id::text::bigint) < pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS settled FROM events',
    );
    return facts?.settled;
  });
