import { randomUUID } from 'node:crypto';
import { QohRunWork } from '../../src/cart-workers/qoh-runs/qoh-run-work.js';
import type { QohRunScope, StoredQohRun } from '../../src/cart-workers/qoh-runs/qoh-runs.table.js';
import type { Harness } from '../support/hub-harness.js';

/** Runs as the API begins them, and as the worker role works on them. */
export function qohRunsOf(hub: Harness) {
  const { database, directory, orderImport, qohTransfer } = hub;
  const work = new QohRunWork({ database, directory, orderImport, qohTransfer });
  const begin = async (
    cartId: string,
    direction: 'send' | 'get',
    { preview = false, ...scope }: QohRunScope & { readonly preview?: boolean } = {},
  ): Promise<string> => {
    const id = randomUUID();
    await hub.rows(
      `INSERT INTO qoh_runs (id, cart_id, direction, scope, preview, by, notes)
       VALUES ($1, $2, $3, $4, $5, 'test', '{"notListed":[],"unknownAtHub":[],"doubled":[],"unsettled":[]}')`,
      id,
      cartId,
      direction,
      JSON.stringify(scope),
      preview,
    );
    return id;
  };
  return {
    begin,
    work: (id: string) => work.run(id),
    run: async (...wished: Parameters<typeof begin>) => {
      const id = await begin(...wished);
      await work.run(id);
      return found(id);
    },
    found,
    differences: (id: string) =>
      hub.rows<{ key: string; shown: number; should: number; direction: string }>(
        'SELECT key, shown::int, should::int, direction FROM qoh_run_rows WHERE run_id = $1 ORDER BY key',
        id,
      ),
  };

  async function found(id: string): Promise<StoredQohRun> {
    const [run] = await hub.rows<StoredQohRun>(
      `SELECT id, state, phase, total::int, looked::int, differing::int, zeroed::int, inflated::int, equal::int, differences::int,
              looks, why, fault, notes FROM qoh_runs WHERE id = $1`,
      id,
    );
    if (run === undefined) throw new Error(`There is no run ${id}`);
    return run;
  }
}
