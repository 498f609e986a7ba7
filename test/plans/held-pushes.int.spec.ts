import { afterAll, beforeAll, expect, it } from 'vitest';
import { beginByKeys, inTransaction } from '../../src/database.js';
import { releaseChunk } from '../../src/projections/guard.js';
import type { TestDatabase } from '../support/database.js';
import { startPrivatePostgres, type PrivatePostgres } from '../support/private-postgres.js';
import { rowsTouched, watchPlans } from './watch-plans.js';

/** Records of a change of rules over a large catalogue, held until all of them are there to be judged. */
const held = 20_000;

let server: PrivatePostgres;
let database: TestDatabase;
let watch: ReturnType<typeof watchPlans>;
beforeAll(async () => {
  server = await startPrivatePostgres();
  database = await server.createDatabase();
  watch = watchPlans(database.pool);
  await database.pool.query(
    `INSERT INTO web_stack (cart_id, key, sku, generation, delta, target, cause, state, push, accepted_at, created_at)
     SELECT 'shop', 'K' || n, 'K' || n, 1, -1, 1, '{}', 'held', 'recompute:one', now(), now() FROM generate_series(1, $1::int) n`,
    [held],
  );
  await database.pool.query(
    `INSERT INTO pushes (push, cart_id, kind, title, changed, zeroed, inflated, opened_at)
     VALUES ('recompute:one', 'shop', 'rules', 'RuleSaved', $1, 0, 0, now())`,
    [held],
  );
});
afterAll(async () => {
  await database.close();
  await server.close();
});

const release = async (recordsMax: number) => {
  const before = watch.seen.length;
  const released = await inTransaction(database, (client) => releaseChunk(client, recordsMax), beginByKeys);
  const seen = watch.seen.slice(before).filter(({ name }) => name === 'release-chunk');
  expect(seen).toHaveLength(1);
  return { released, touched: Math.max(...seen.map(({ plan }) => rowsTouched(plan))) };
};

// Asked before every chunk, it went through all that was held by then: the more listings, the slower each of them.
it.each(['before anybody counted the rows', 'afterwards'])(
  'looks at nothing that is held while nothing may go, and at what goes and no more: %s',
  async (when) => {
    if (when === 'afterwards') await database.pool.query('ANALYZE web_stack, pushes');
    await database.pool.query(`UPDATE pushes SET state = 'collecting', released_to = NULL, judged_at = NULL`);
    expect(await release(2_000)).toMatchObject({ released: null, touched: expect.toSatisfy((n: number) => n < 10) });
    await database.pool.query(`UPDATE pushes SET state = 'passed', released_to = 0, judged_at = now()`);
    expect(await release(500)).toMatchObject({ released: 500, touched: expect.toSatisfy((n: number) => n <= 2_000) });
  },
);
