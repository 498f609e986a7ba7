import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CartProbes } from '../../src/cart-workers/cart-probes.js';
import { CommandBatcher } from '../../src/events/command-batcher.js';
import { EventStore } from '../../src/events/event-store.js';
import { assertInvariants, assertShopsAgree } from '../projections/assert-invariants.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startOddScript, type Oddities, type OddScript } from '../support/odd-script.js';
import { until } from '../support/until.js';

const skus = ['MUG', 'A|B <C> & ~D', 'CUP'] as const;
const [plain, odd, other] = skus;
const fast = { requestTimeoutMs: 700, quietTimeMs: 100, pollIntervalMs: 600_000 };

/** Scripts that take changes as XML documents and nothing else, from the probe to what a lane tells them. */
describe.each([
  ['adds', {}, 'settlement', 'invupdate'],
  ['sets', { sets: true }, 'set-only', 'qohreplace'],
] as const)('a script that takes documents only and %s', (_how, oddities, delivery, changing) => {
  let hub: Harness;
  let script: OddScript;
  const as: Oddities = { updates: 'xml', ...oddities };

  beforeAll(async () => {
    hub = await createHarness({ backend: 'postgres' });
    await hub.stockUp(Object.fromEntries(skus.map((sku) => [sku, 20])));
    script = await startOddScript(Object.fromEntries(skus.map((sku) => [sku, 20])), as);
    await hub.addCart('main', { kind: 'seti', url: script.url, secret: 'secret', user: 'u', storeCode: '' }, fast);
    const { database, directory } = hub;
    const probes = new CartProbes({ database, directory, batcher: new CommandBatcher(new EventStore(database.pool)) });
    const { id } = await probes.ask('main', { key: plain, belowZero: true, parallel: true }, 'test');
    await probes.run(id);
    await hub.projector.caughtUp(10_000);
    await hub.ask({ type: 'SwitchCart', cartId: 'main', on: true, needsProbe: true });
    await hub.ask({ type: 'MapListings', cartId: 'main', rows: skus.map((sku) => ({ key: sku, sku })) });
    await hub.projector.caughtUp(10_000);
    await hub.qohTransfer.run({ cartId: 'main', direction: 'send' });
    await hub.quiet();
    script.calls.length = 0;
  });
  afterEach(async () => {
    script.odd = as;
    script.afterChange = () => false;
    await hub.quiet();
    await assertInvariants(hub.database);
    await assertShopsAgree(hub.database, new Map([['main', { stock: () => Promise.resolve(script.stock) }]]));
    const pairs = script.calls.flatMap((call) => call.get('update') ?? []).filter((text) => !text.startsWith('<'));
    if (pairs.length > 0) throw new Error(`A script that takes documents was told ${pairs.join(' and ')}`);
  });
  afterAll(async () => {
    await hub.close();
    await script.stop();
  });

  const receive = (sku: string, quantity: number) => hub.ask({ type: 'ReceiveStock', sku, location: 'MAIN', quantity });
  /** Rows that were told: absolute numbers may leave together. */
  const changes = () =>
    script.calls
      .filter((call) => call.get('setifunction') === changing)
      .flatMap((call) => call.get('update')?.match(/<Product>/g) ?? []).length;
  const lines = async (sku: string) =>
    (
      await hub.rows<{ outcome: string }>('SELECT outcome FROM delivery_lines WHERE key = $1 ORDER BY ended_at', sku)
    ).map(({ outcome }) => outcome);
  const untilInDoubt = (sku: string) =>
    until('it is in doubt', async () =>
      (await hub.rows(`SELECT 1 FROM web_stack WHERE key = $1 AND state = 'in-doubt'`, sku)).at(0),
    );

  it('is told receipts and sales, with SKUs that no pair could say', async () => {
    expect((await hub.directory.cart('main')).capabilities).toMatchObject({ updates: 'xml', delivery });
    await receive(plain, 5);
    await receive(odd, 3);
    await hub.quiet();
    await hub.ask({ type: 'SellStock', sku: odd, location: 'MAIN', quantity: 1 });
    script.sell(other, 2, '2001');
    await hub.orderImport.poll('main');
    await hub.quiet();
    expect(skus.map((sku) => script.stock.get(sku))).toEqual([25, 22, 18]);
    expect(changes()).toBe(3);
  });

  it('is not told again what it made and did not answer', async () => {
    const before = (await lines(plain)).length;
    let cut = 0;
    script.afterChange = () => (cut += 1) === 1;
    const made = changes();
    await receive(plain, 4);
    await hub.quiet();
    expect(script.stock.get(plain)).toBe(29);
    expect(changes() - made).toBe(1);
    expect(cut).toBe(1);
    expect((await lines(plain)).slice(before)).toEqual(['settled as applied']);
  });

  it('is told again what it refused with an error and did not make, once that is seen', async () => {
    script.odd = { ...as, lacks: [changing] };
    await receive(plain, 4);
    await untilInDoubt(plain);
    script.odd = as;
    await hub.quiet();
    expect(script.stock.get(plain)).toBe(33);
  });

  it('is told what was left in doubt by a worker that died, once, and again by documents', async () => {
    await hub.stopWorkers();
    const worker = await hub.startWorkerProcess();
    const ended = new Promise((resolve) => worker.once('exit', resolve));
    script.beforeCall = async (name) => {
      if (name !== changing) return;
      script.beforeCall = () => undefined;
      // It has left the worker, and is carried out after its death.
      worker.kill('SIGKILL');
      await ended;
    };
    await receive(odd, 6);
    await ended;
    await hub.restartWorkers();
    await hub.quiet(30_000);
    expect(script.stock.get(odd)).toBe(28);
    await receive(odd, 1);
    await hub.quiet();
    expect(script.stock.get(odd)).toBe(29);
  });
});
