import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CartProbes } from '../../src/cart-workers/cart-probes.js';
import type { TouchedItem } from '../../src/cart-workers/probes.table.js';
import { ScriptVersions } from '../../src/cart-workers/script-versions.js';
import { CommandBatcher } from '../../src/events/command-batcher.js';
import { EventStore } from '../../src/events/event-store.js';
import type { CartProbe } from '../../src/events/facts.js';
import { assertInvariants } from '../projections/assert-invariants.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startOddScript, type Oddities, type OddScript } from '../support/odd-script.js';

const fast = { requestTimeoutMs: 700, quietTimeMs: 100 };

interface Row {
  readonly state: string;
  readonly error: string | null;
  readonly touched: TouchedItem | null;
  readonly result: CartProbe | null;
}

let hub: Harness;
let probes: CartProbes;
let script: OddScript;
let carts = 0;
beforeAll(async () => {
  hub = await createHarness({ backend: 'postgres', workers: false });
  await hub.ask({ type: 'AddLocation', location: 'MAIN', name: 'Main' });
  const { database, directory } = hub;
  probes = new CartProbes({ database, directory, batcher: new CommandBatcher(new EventStore(database.pool)) });
});
afterEach(async () => {
  await script.stop();
  await assertInvariants(hub.database);
});
afterAll(() => hub.close());

/** A cart of its own for each test, switched off, at a script with these items. */
async function cartAt(items: Record<string, number>, odd: Oddities = {}): Promise<string> {
  script = await startOddScript(items, odd);
  const cartId = `cart-${(carts += 1)}`;
  await hub.addCart(cartId, { kind: 'seti', url: script.url, secret: 'secret', user: 'u', storeCode: '' }, fast);
  return cartId;
}

async function asked(cartId: string, wish: { key?: string; belowZero?: boolean; parallel?: boolean } = {}) {
  const { id } = await probes.ask(cartId, { key: 'MUG', belowZero: true, parallel: true, ...wish }, 'test');
  return id;
}
const rowOf = async (id: string) =>
  (await hub.rows<Row>('SELECT state, error, touched, result FROM cart_probes WHERE id = $1', id))[0]!;

async function probe(cartId: string, wish: { key?: string; belowZero?: boolean; parallel?: boolean } = {}) {
  const id = await asked(cartId, wish);
  await probes.run(id);
  return rowOf(id);
}
const follows = (row: Row, about: string) => row.result?.findings.find((one) => one.about === about);

describe('a probe of a script', () => {
  it('that does as it should finds nothing odd, leaves the stock alone, and lets the cart be switched on', async () => {
    const cartId = await cartAt({ MUG: 12, CUP: 3 });
    await expect(hub.ask({ type: 'SwitchCart', cartId, on: true, needsProbe: true })).rejects.toThrow(/probed before/);
    const row = await probe(cartId);
    expect(row).toMatchObject({ state: 'done', error: null, touched: null });
    expect(row.result?.found).toEqual({
      delivery: 'settlement',
      clampsAtZero: false,
      tildeInKeys: true,
      listingStable: true,
      unknownAnsweredOk: false,
      losesParallelChanges: false,
      functionsMissing: [],
      orders: null,
      updates: 'plain',
      unusable: null,
    });
    expect(Object.fromEntries(script.stock)).toEqual({ MUG: 12, CUP: 3 });
    expect(JSON.stringify(row)).not.toContain('secret');
    await hub.projector.caughtUp(10_000);
    expect((await hub.directory.cart(cartId)).capabilities).toMatchObject({
      delivery: 'settlement',
      tildeInKeys: true,
    });
    await hub.ask({ type: 'SwitchCart', cartId, on: true, needsProbe: true });
  });

  it('that sets instead of adding finds it at the first try, and has absolute numbers written from then on', async () => {
    const cartId = await cartAt({ MUG: 12 }, { sets: true });
    const row = await probe(cartId);
    expect(row.result?.found).toMatchObject({ delivery: 'set-only', unusable: null });
    expect(follows(row, 'adding and taking one')?.follows).toMatch(
      /absolute numbers, by reading, writing and reading back/,
    );
    expect(script.stock.get('MUG')).toBe(12);
    await hub.projector.caughtUp(10_000);
    const { capabilities } = await hub.directory.cart(cartId);
    expect(capabilities).toMatchObject({ delivery: 'set-only', parallelCallsMax: 1, linesPerDeliveryMax: 100 });
  });

  it('that sets and has no function for it is put back, and cannot be switched on', async () => {
    const cartId = await cartAt({ MUG: 12 }, { sets: true, lacks: ['qohreplace'] });
    const row = await probe(cartId);
    expect([row.state, script.stock.get('MUG')]).toEqual(['done', 12]);
    expect(row.result?.found.functionsMissing).toEqual(['qohreplace']);
    await expect(hub.ask({ type: 'SwitchCart', cartId, on: true, needsProbe: true })).rejects.toThrow(/qohreplace/);
    await hub.ask({ type: 'SwitchCart', cartId, on: true, needsProbe: true, unprobed: 'a new script comes tonight' });
  });

  it('that answers OK and changes nothing cannot be switched on', async () => {
    const row = await probe(await cartAt({ MUG: 12 }, { ignores: true }));
    expect(row.result?.found).toMatchObject({ delivery: null, unusable: 'The cart answered OK and changed nothing.' });
  });

  it('that clamps at zero has that as the cart’s setting from then on', async () => {
    const cartId = await cartAt({ MUG: 12 }, { clamps: true });
    const row = await probe(cartId);
    expect([row.result?.found.clampsAtZero, script.stock.get('MUG')]).toEqual([true, 12]);
    await hub.projector.caughtUp(10_000);
    expect((await hub.directory.cart(cartId)).settings.clampsAtZero).toBe(true);
  });

  it('that loses changes side by side says how many, and puts back what arrived', async () => {
    const row = await probe(await cartAt({ MUG: 12 }, { losesParallel: true }));
    expect(row.result?.found.losesParallelChanges).toBe(true);
    expect(follows(row, 'two changes at once')?.saw).toBe('Of 6 changes sent two at a time 3 arrived.');
    expect(script.stock.get('MUG')).toBe(12);
  });

  it('leaves out what needs more pieces, or was not wished for, and says so', async () => {
    const row = await probe(await cartAt({ MUG: 3 }), { belowZero: false });
    expect(row.result?.found).toMatchObject({ losesParallelChanges: null, clampsAtZero: null });
    expect(follows(row, 'two changes at once')?.saw).toMatch(/at least 8 pieces, and this one shows 3/);
    expect(follows(row, 'below zero')?.saw).toMatch(/asked for without/);
  });

  it.each([
    ['as if it had changed it', 'OK', true, /An OK proves nothing here/],
    ['with a note that says otherwise', 'note', false, /nothing more is sent/],
  ] as const)('that answers an unknown SKU OK %s is seen', async (_how, unknownSku, applied, consequence) => {
    const row = await probe(await cartAt({ MUG: 12 }, { unknownSku }));
    expect(row.result?.found.unknownAnsweredOk).toBe(applied);
    expect(follows(row, 'an item that is not there')?.follows).toMatch(consequence);
  });

  it('that takes documents only is sent documents from then on, with SKUs that no pair could say', async () => {
    const cartId = await cartAt({ MUG: 12, 'A|B <C> & ~D': 5 }, { updates: 'xml' });
    const row = await probe(cartId);
    expect(row.result?.found).toMatchObject({
      updates: 'xml',
      functionsMissing: [],
      delivery: 'settlement',
      tildeInKeys: true,
    });
    expect(follows(row, 'how changes are written')?.follows).toMatch(/as XML documents/);
    expect([row.touched, script.stock.get('MUG')]).toEqual([null, 12]);
    await hub.projector.caughtUp(10_000);
    const { connector, connection } = await hub.directory.cart(cartId);
    const call = { deadlineMs: Number.POSITIVE_INFINITY };
    const given = { idempotencyKey: 'k', createdAtMs: 0 };
    const lines = [{ key: 'A|B <C> & ~D', delta: -3 }];
    expect(await connector.sendDeltas(connection, { ...given, lines }, call)).toMatchObject([
      { outcome: 'applied', quantity: 2 },
    ]);
    const rows = ['A|B <C> & ~D', 'MUG', 'NOWHERE'].map((key) => ({ key, quantity: 9 }));
    expect(await connector.setQuantities(connection, { ...given, rows }, call)).toMatchObject([
      { outcome: 'applied', quantity: 9 },
      { outcome: 'applied', quantity: 9 },
      { outcome: 'not-found' },
    ]);
    await hub.ask({ type: 'SwitchCart', cartId, on: true, needsProbe: true });
  });

  it('that takes pairs and documents is sent pairs, and never a document', async () => {
    const row = await probe(await cartAt({ MUG: 12 }, { updates: 'either' }));
    expect(row.result?.found.updates).toBe('plain');
    expect(script.calls.filter((call) => call.get('update')?.startsWith('<'))).toEqual([]);
  });

  it('that takes documents only and sets is put back by documents, and has absolute numbers written', async () => {
    const row = await probe(await cartAt({ MUG: 12 }, { updates: 'xml', sets: true }));
    expect(row.result?.found).toMatchObject({ updates: 'xml', delivery: 'set-only', unusable: null });
    expect(script.stock.get('MUG')).toBe(12);
  });

  it('of another version than the one that was probed is not switched on anew before it is probed again', async () => {
    const cartId = await cartAt({ MUG: 12 });
    const { directory } = hub;
    const versions = new ScriptVersions({ directory, batcher: new CommandBatcher(new EventStore(hub.database.pool)) });
    const facts = async () =>
      (await hub.rows(`SELECT FROM events WHERE type = 'ScriptVersionSeen' AND data->>'cartId' = $1`, cartId)).length;
    await versions.look(cartId);
    await probe(cartId, { belowZero: false, parallel: false });
    await hub.ask({ type: 'SwitchCart', cartId, on: true, needsProbe: true });
    await versions.look(cartId);
    expect(await facts()).toBe(0);
    script.odd = { version: '6.0' };
    await versions.look(cartId);
    await versions.look(cartId);
    await hub.projector.caughtUp(10_000);
    expect(await facts()).toBe(1);
    expect(await hub.rows('SELECT is_on, script_version FROM carts WHERE cart_id = $1', cartId)).toEqual([
      { is_on: true, script_version: '6.0' },
    ]);
    await hub.ask({ type: 'SwitchCart', cartId, on: false });
    const on = { type: 'SwitchCart', cartId, on: true, needsProbe: true } as const;
    await expect(hub.ask(on)).rejects.toThrow(/of version 6\.0 now, and was probed at version 5\.900/);
    await script.stop();
    await versions.look(cartId);
    await expect(hub.ask(on)).rejects.toThrow(/of version 6\.0 now/);
    script = await startOddScript({ MUG: 12 }, { version: '6.0' });
    await hub.ask({ type: 'ChangeCart', cartId, url: script.url });
    await hub.projector.caughtUp(10_000);
    await probe(cartId, { belowZero: false, parallel: false });
    await hub.projector.caughtUp(10_000);
    expect(await hub.rows('SELECT script_version FROM carts WHERE cart_id = $1', cartId)).toEqual([
      { script_version: null },
    ]);
    await hub.ask(on);
  });

  it('that splits at the first tilde is never sent a SKU with one, since that might be another item', async () => {
    const cartId = await cartAt({ MUG: 12, TENT: 5, 'TENT~2': 5 }, { firstTilde: true, unknownSku: 'note' });
    const row = await probe(cartId);
    expect(row.result?.found.tildeInKeys).toBe(false);
    await hub.projector.caughtUp(10_000);
    const { connector, connection } = await hub.directory.cart(cartId);
    const lines = [{ key: 'TENT~2', delta: -3 }];
    const call = { deadlineMs: Number.POSITIVE_INFINITY };
    const before = script.calls.length;
    const answers = await connector.sendDeltas(connection, { idempotencyKey: 'k', createdAtMs: 0, lines }, call);
    expect(answers).toMatchObject([
      { outcome: 'rejected', response: expect.stringMatching(/might change another item/) },
    ]);
    expect(script.calls).toHaveLength(before);
  });

  it('whose pages have no fixed order is seen', async () => {
    const items = Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`SKU-${at}`, 5]));
    const row = await probe(await cartAt({ MUG: 12, ...items }, { unstable: true, pageMax: 7 }));
    expect(row.result?.found.listingStable).toBe(false);
    expect(follows(row, 'listing')?.saw).toMatch(/no fixed/);
  });

  it('that does not track the item, or shows too few, says which and touches nothing', async () => {
    const cartId = await cartAt({ MUG: 1, CUP: 12 }, { untracked: ['CUP'] });
    expect(await probe(cartId)).toMatchObject({ state: 'failed', error: expect.stringMatching(/fewer than 2 pieces/) });
    expect((await probe(cartId, { key: 'CUP' })).error).toMatch(/does not track/);
    expect((await probe(cartId, { key: 'NOTHING' })).error).toMatch(/does not list it/);
    expect(script.calls.some((call) => /^(MUG|CUP)~/.test(call.get('update') ?? ''))).toBe(false);
  });

  it('that tells quantities only with its products is read that way', async () => {
    const row = await probe(await cartAt({ MUG: 12 }, { lacks: ['downloadqoh'] }));
    expect(row.result?.found).toMatchObject({ functionsMissing: ['downloadqoh'], unusable: null });
    expect(script.stock.get('MUG')).toBe(12);
  });

  it('that tells no orders cannot be switched on, since no sale could be told from a fault', async () => {
    const row = await probe(await cartAt({ MUG: 12 }, { lacks: ['downloadorders'] }));
    expect(row.result?.found.unusable).toMatch(/does not tell its orders/);
    expect(script.stock.get('MUG')).toBe(12);
  });

  const letters = { ignoresNumbers: true } as const;
  it.each([
    ['takes numbers', ['1', '2', '3'], {}, { by: 'number' }],
    ['takes numbers and a date', ['1', '2', '3'], { byDate: { separator: '-', besideAll: true } }, { by: 'number' }],
    ['takes a date', ['A', 'B', 'C'], { ...letters, byDate: { separator: '-', besideAll: true } }, { by: 'date', ask: 'All-' }],
    ['reads a date only where no number is asked', ['A', 'B', 'C'], { ...letters, byDate: { separator: '/', besideAll: false } }, { by: 'date', ask: '/' }],
    ['means "after that day"', ['1', '2', '3'], { ...letters, byDate: { separator: '/', besideAll: true, after: true } }, { by: 'date', ask: 'All/' }],
  ] as const)('that %s is asked for its orders so', async (_how, numbers, odd, by) => {
    const cartId = await cartAt({ MUG: 20 }, odd);
    for (const number of numbers) script.sell('MUG', 1, number);
    const row = await probe(cartId, { belowZero: false, parallel: false });
    expect(row.result?.found).toMatchObject({ orders: by, unusable: null });
    expect(script.stock.get('MUG')).toBe(17);
    await hub.projector.caughtUp(10_000);
    expect((await hub.directory.cart(cartId)).capabilities.ordersBy).toEqual(by);
  }); // prettier-ignore

  it('that tells all its orders whatever it is asked, and names them by letters, cannot be switched on', async () => {
    const cartId = await cartAt({ MUG: 20 }, letters);
    for (const number of ['A', 'B']) script.sell('MUG', 1, number);
    const row = await probe(cartId, { belowZero: false, parallel: false });
    expect(row.result?.found).toMatchObject({
      orders: null,
      unusable: expect.stringMatching(/do not say which are new/),
    });
  });

  it('that cannot be read at all fails with the reason', async () => {
    const cartId = await cartAt({ MUG: 12 }, { lacks: ['downloadqoh', 'downloadprods'] });
    expect((await probe(cartId)).error).toMatch(/downloadprods.* was not found/);
  });
});

describe('a sale while a cart is probed', () => {
  it.each([
    ['adds', {}],
    ['sets', { sets: true }],
    ['clamps', { clamps: true }],
  ] as const)('stays sold at a script that %s', async (_how, odd) => {
    const cartId = await cartAt({ MUG: 12 }, odd);
    let sold = false;
    script.afterChange = (update) => {
      if (!sold && update.startsWith('MUG~')) script.sell('MUG', 2, '7001');
      sold ||= update.startsWith('MUG~');
      return false;
    };
    const row = await probe(cartId);
    expect([row.state, sold, script.stock.get('MUG')]).toEqual(['done', true, 10]);
  });
});

describe('a probe that is cut off', () => {
  const runner = fileURLToPath(new URL('../support/probe-process.mjs', import.meta.url));

  /** Carries a probe out in a process that is killed when its change number `at` has been applied and not answered. */
  async function killedAt(cartId: string, at: number): Promise<string> {
    const id = await asked(cartId);
    const given = { databaseUrl: hub.database.url, encryptionKey: hub.encryptionKey.toString('base64'), probeId: id };
    const child = spawn(process.execPath, [runner], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, PROBE_PROCESS: JSON.stringify(given) },
    });
    const ended = once(child, 'exit');
    let changes = 0;
    script.afterChange = async (update) => {
      if (!/^(?:MUG~|<Product><SKU>MUG<)/.test(update) || (changes += 1) !== at) return false;
      child.kill('SIGKILL');
      await ended;
      return true;
    };
    await ended;
    script.afterChange = () => false;
    await hub.rows(`UPDATE lanes SET comparing_until = NULL WHERE cart_id = $1`, cartId);
    return id;
  }

  it.each([
    ['after +1', 1, 1, {}],
    ['after −1', 2, 1, {}],
    ['at zero, which it clamped', 3, 0, { clamps: true }],
    ['below zero', 3, 0, {}],
    ['on its way back from below zero', 4, 0, {}],
    ['in the middle of two at once', 5, 0, {}],
    ['in the middle of two at once, of which one is lost', 5, 0, { losesParallel: true }],
    ['after a +1 that set', 1, 1, { sets: true }],
    ['after a +1 in a document', 1, 1, { updates: 'xml' }],
  ] as const)('%s puts the item back when it is taken up again', async (_when, at, sold, odd) => {
    const cartId = await cartAt({ MUG: 12 }, odd);
    const id = await killedAt(cartId, at);
    expect((await rowOf(id)).touched).toMatchObject({ key: 'MUG', before: 12 });
    expect(await probes.unfinished(cartId)).toHaveLength(1);
    if (sold > 0) script.sell('MUG', sold, '7002');
    await probes.run(id);
    const row = await rowOf(id);
    expect([row.state, row.touched, script.stock.get('MUG')]).toEqual(['done', null, 12 - sold]);
  });

  it('and whose item somebody else has changed is left to a person, and says what it showed', async () => {
    const cartId = await cartAt({ MUG: 12 });
    const id = await killedAt(cartId, 1);
    script.stock.set('MUG', 40);
    await probes.run(id);
    expect(await rowOf(id)).toMatchObject({
      state: 'failed',
      error: expect.stringMatching(/showed 12, 1 was sent .* shows 40 now/),
    });
    expect([script.stock.get('MUG'), (await probes.unfinished(cartId))[0]?.touched]).toEqual([40, 'MUG']);
    await probes.leaveAsItIs(cartId);
    expect(await probes.unfinished(cartId)).toEqual([]);
    expect((await probe(cartId)).state).toBe('done');
    expect(script.stock.get('MUG')).toBe(40);
  });
});
