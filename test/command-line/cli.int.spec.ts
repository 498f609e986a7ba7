import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Projector } from '../../src/projections/projector.js';
import { ownerKey, startHubUnderTest, type HubUnderTest } from '../api/hub-under-test.js';
import { startShop, type Shop } from '../support/shops.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { runHere, startCli, type CliResult } from './run-cli.js';

const settled = { timeout: 20_000, interval: 50 };

let hub: HubUnderTest;
let shop: Shop;
let dir: string;

beforeAll(async () => {
  dir = await temporaryDirectory();
  hub = await startHubUnderTest();
  shop = await startShop('seti', { items: [{ key: 'MUG', title: 'Mug', quantity: 3 }] });
});
afterAll(async () => {
  await hub.close();
  await shop.stop();
  await Promise.all([dir, shop.dir].map((folder) => rm(folder, { recursive: true, force: true })));
});

const access = () => ({ ONHAND_URL: hub.url, ONHAND_API_KEY: ownerKey });
/** Reads follow the projector, which is quicker than a person and slower than a test. */
const caughtUp = () => hub.hub.app.get(Projector).caughtUp(10_000);
async function onhand(...args: string[]): Promise<CliResult> {
  await caughtUp();
  return runHere(args, access());
}
/** As a person would: a process of its own. */
async function onhandProcess(...args: string[]): Promise<CliResult> {
  await caughtUp();
  return startCli(args, access()).ended;
}

// The shape of an answer is what the tests are about; they read it freely.
// oxlint-disable-next-line typescript/no-explicit-any
async function json(...args: string[]): Promise<any> {
  const { code, out, err } = await onhand(...args, '--json');
  expect({ code, err }).toMatchObject({ code: 0 });
  return JSON.parse(out);
}

describe('stock', () => {
  it('a place, an item and pieces are recorded, shown and found in the ledger', async () => {
    expect(await onhand('locations', 'add', 'main', 'Main warehouse')).toMatchObject({ code: 0 });
    expect(await onhand('items', 'create', 'MUG', 'Mug, blue')).toMatchObject({ code: 0 });
    const received = await onhandProcess('receive', 'MUG', '20', '--reference', 'purchase-order:PO-7');
    expect(received).toMatchObject({ code: 0, out: 'StockReceived  MUG at main  +20  on hand 20\n', err: '' });
    expect((await onhand('adjust', 'MUG', '-3', '--reason', 'broken')).out).toContain('-3  on hand 17');
    expect((await onhand('sell', 'MUG', '2')).out).toContain('on hand 15');
    expect((await onhand('return', 'MUG', '1')).out).toContain('on hand 16');
    expect((await onhand('count', 'MUG', '18')).out).toContain('+2  on hand 18');

    const item = await onhandProcess('item', 'MUG');
    expect(item.out).toMatch(/^SKU +MUG\nTitle +Mug, blue\nOn hand +18\n/);
    expect(item.out).toMatch(/LOCATION +ON HAND +OPEN +UPDATED\nmain +18 +0 +\d{4}-/);
    const ledger = await onhand('item', 'ledger', 'MUG');
    expect(ledger.out).toContain('purchase-order PO-7');
    expect(ledger.out.trim().split('\n')).toHaveLength(6);
    expect((await onhand('items', 'search', 'MU')).out).toMatch(/MUG +18 +0 +Mug, blue/);
    expect((await onhand('item', 'as-of', 'MUG', '--at', '2020-01-01', '--by', 'business')).out).toContain('0 on hand');
  });

  it('an item is changed by what is named, and a dry run shows it beforehand', async () => {
    await onhand('items', 'create', 'BOWL', 'Bowl', '--tag', 'new');
    const dry = await onhand('items', 'change', 'BOWL', '--tag', '+sale', '--tag', '-new', '--inactive', '--dry-run');
    expect(dry.out).toContain('Tags: new → sale\nState: active → inactive\n');
    expect((await onhand('item', 'BOWL')).out).toMatch(/Tags +new\n/);
    expect((await onhand('items', 'change', 'BOWL')).code).toBe(2);
    expect((await onhand('items', 'change', 'BOWL', '--active', '--inactive')).code).toBe(2);
    const edit = ['--tag', '+sale', '--tag', '-new', '--inactive', '--barcode', '77', '--if-version', '1'];
    expect((await onhand('items', 'change', 'BOWL', ...edit)).out).toContain('ItemChanged');
    expect(await onhand('items', 'change', 'BOWL', '--title', 'X', '--if-version', '1')).toMatchObject({ code: 1 });
    expect((await onhand('item', 'BOWL')).out).toMatch(/Barcode +77\nTags +sale\nState +inactive\n/);
    expect((await onhand('items', 'list', '--tag', 'sale')).out).toBe('No item.\n');
    expect((await onhand('items', 'list', '--tag', 'sale', '--active', 'all')).out).toContain('Bowl (inactive)');
    await onhand('items', 'create', 'BASIN', 'Basin', '--barcode', '77');
    expect((await onhand('items', 'shared-barcodes')).out).toMatch(/77 +BASIN +Basin\n77 +BOWL/);
    expect(await onhand('items', 'change', 'BASIN', '--inactive')).toMatchObject({ code: 0 });
  });

  it('a transfer takes pieces away and brings them', async () => {
    await onhand('locations', 'add', 'shop', 'Shop');
    expect((await onhand('receive', 'MUG', '1')).err).toContain('Say where with --location: main, shop');
    const shipped = await onhand('transfer', 'ship', 'T-1', 'MUG=2', '--from', 'main', '--to', 'shop');
    expect(shipped).toMatchObject({ code: 0 });
    expect(await onhand('transfer', 'receive', 'T-1')).toMatchObject({ code: 0 });
    const item = await json('item', 'MUG');
    const at = Object.fromEntries(
      item.locations.map((row: { location: string; onHand: number }) => [row.location, row.onHand]),
    );
    expect(at).toMatchObject({ main: 16, shop: 2 });
    await onhand('transfer', 'ship', 'T-2', 'MUG=2', '--from', 'shop', '--to', 'main', '--receive');
  });

  it('--json prints what the API answered, and a key makes a repeated request count once', async () => {
    const args = ['receive', 'MUG', '5', '-l', 'main', '--idempotency-key', 'delivery-9'];
    const first = await json(...args);
    expect(await json(...args)).toEqual(first);
    expect(first.facts).toMatchObject([{ type: 'StockReceived', delta: 5, balance: 23 }]);
    const api = await hub.call('GET', '/v1/items/MUG');
    expect(await json('item', 'MUG')).toEqual(api.body);
    const verbose = await onhand('adjust', 'MUG', '-5', '-l', 'main', '--verbose');
    expect(verbose.err).toMatch(/Idempotency-Key: cli-[0-9a-f-]{36}/);
  });

  it('--dry-run shows the request and on hand before and after, and changes nothing', async () => {
    const before = await json('item', 'ledger', 'MUG');
    const dry = await onhand('sell', 'MUG', '4', '-l', 'main', '--dry-run');
    expect(dry).toMatchObject({ code: 0, err: 'Nothing was sent (--dry-run).\n' });
    expect(dry.out).toContain('MUG at main, on hand: 18 → 14');
    expect((await json('count', 'MUG', '7', '-l', 'main', '--dry-run')).preview).toEqual([
      { what: 'MUG at main, on hand', before: 18, after: 7 },
    ]);
    expect(
      (await onhand('carts', 'add', 'X', '--type', 'seti', '--cart-url', 'http://x', '--dry-run', '-l', 'main')).out,
    ).toContain('(not shown)');
    expect(await json('item', 'ledger', 'MUG')).toEqual(before);
  });

  it('what the hub refuses ends with 1, a sentence, and the problem itself with --json', async () => {
    const refused = await onhandProcess('receive', 'MUG', '0', '-l', 'main');
    expect(refused).toMatchObject({ code: 1, out: '', err: '"quantity": must be 1 or more.\n' });
    const problem = await onhand('receive', 'MUG', '1', '-l', 'moon', '--json');
    expect(problem.code).toBe(1);
    expect(JSON.parse(problem.out)).toMatchObject({ type: 'urn:onhand:problem:unknown-location', status: 404 });
    expect(await onhand('receive', 'MUG', 'many', '-l', 'main')).toMatchObject({ code: 2, out: '' });
  });
});

describe('orders', () => {
  it('are imported from JSON, one refused does not hold up the others, and are shipped and closed', async () => {
    const file = path.join(dir, 'orders.json');
    const line = { sku: 'MUG', location: 'main', quantity: 2 };
    await writeFile(
      file,
      JSON.stringify([
        { number: 'P-1', lines: [line] },
        { number: 'P-2', lines: [{ ...line, quantity: 0 }] },
        { number: 'P-3', lines: [line] },
      ]),
    );
    expect((await onhand('orders', 'import', file, '--dry-run')).out).toContain('Would tell order P-1');
    const imported = await onhand('orders', 'import', file);
    expect(imported.code).toBe(1);
    expect(imported.out).toContain('2 taken, 1 refused.');
    expect(imported.err).toContain('Order P-2 is refused');
    const piped = await startCli(
      ['orders', 'import', '-', '--json'],
      access(),
      '{"number":"P-4","lines":[]}\n{"number":"P-5","lines":[]}\n',
    ).ended;
    expect(JSON.parse(piped.out)).toMatchObject([
      { number: 'P-4', status: 201 },
      { number: 'P-5', status: 201 },
    ]);
    expect((await onhand('orders', 'ship', 'P-1', '1=1')).code).toBe(0);
    await onhand('orders', 'close', 'P-3');
    await expect.poll(async () => (await json('orders', 'show', 'P-3')).state, settled).toBe('closed');
    expect((await onhand('orders', 'list', '--state', 'open')).out).toMatch(/P-1 +\(phone\) +open/);
    expect((await onhand('orders', 'show', 'P-1')).out).toMatch(/LINE +KEY +SKU/);
  });
});

describe('carts', () => {
  it('a cart is added with a secret from a pipe, tried, switched on and compared', async () => {
    const add = ['carts', 'add', 'Main shop', '--type', 'seti', '--cart-url', shop.url, '--user', shop.user];
    const more = ['-l', 'main', '--poll-interval', '500', '--quiet-time', '1000', '--test'];
    expect(await startCli([...add, ...more], access(), 'wrong\n').ended).toMatchObject({ code: 1 });
    const added = await startCli([...add, ...more], access(), `${shop.secret}\n`).ended;
    expect(added).toMatchObject({ code: 0, out: 'main-shop is added, switched off.\n' });
    expect(`${added.out}${added.err}`).not.toContain(shop.secret);
    expect((await onhand('carts', 'test', 'main-shop')).out).toContain('It works');
    expect((await onhand('carts', 'try', 'main-shop', '--sku', 'MUG')).err).toContain('main-shop does not list MUG');
    expect((await onhand('carts', 'map', 'main-shop', '--all-items')).out).toContain('1 mapped');
    expect(await onhand('carts', 'on', 'main-shop')).toMatchObject({
      code: 1,
      err: expect.stringContaining('carts probe'),
    });
    const probed = await onhandProcess('carts', 'probe', 'main-shop', '--sku', 'MUG');
    expect(probed).toMatchObject({ code: 0, out: expect.stringMatching(/\+1 added one piece and −1 took it again/) });
    expect(probed.err).toMatch(/\+1: SETIResponse=OK;.*\n[^]*MUG is put back/);
    expect((await onhand('carts', 'show', 'main-shop')).out).toMatch(/Probed .* with MUG, version 1\.245/);
    expect((await onhand('carts', 'on', 'main-shop')).out).toContain('Both switches are on.');
    const early = await onhand('carts', 'try', 'main-shop', '--sku', 'MUG');
    expect(early).toMatchObject({ code: 1, err: expect.stringContaining('onhand carts send-qoh main-shop') });
    const sent = await onhandProcess('carts', 'send-qoh', 'main-shop');
    expect(sent).toMatchObject({ code: 0, out: expect.stringContaining('1 listings compared, 1 were different.') });
    // What differed leaves as an ordinary delta once the comparison is done.
    await expect.poll(async () => (await shop.stock()).get('MUG'), settled).toBe(14);
    expect(await json('carts', 'get-qoh', 'main-shop')).toMatchObject({ state: 'done', result: { differences: 0 } });
    expect((await onhand('carts', 'listings', 'main-shop')).out).toMatch(/MUG +MUG +14 +0 +14 .* synchronised/);
    expect((await onhand('carts', 'list')).out).toMatch(/main-shop +Main shop +seti +on +yes/);
    expect((await onhand('carts', 'change', 'main-shop', '--store-code', 'S1')).out).toMatch(/Store code +S1/);
    await onhand('carts', 'change', 'main-shop', '--store-code', '');
  });

  it('try adds a piece, sees it at the cart itself, takes it away, and tells how long each hop took', async () => {
    await expect
      .poll(async () => (await onhand('carts', 'try', 'main-shop', '--sku', 'MUG', '--dry-run')).code, settled)
      .toBe(0);
    const tried = await onhandProcess('carts', 'try', 'main-shop', '--sku', 'MUG');
    expect(tried).toMatchObject({ code: 0, err: expect.stringContaining('It shows 14') });
    for (const hop of ['recorded', 'on the Web Stack', 'dispatched', 'attempt', 'answered', 'seen at the cart']) {
      expect(tried.out).toContain(hop);
    }
    expect(tried.out).toMatch(/In time: \+1 in .*, -1 in /);
    expect((await shop.stock()).get('MUG')).toBe(14);
    const journal = (await shop.journal()).filter(({ kind }) => kind === 'delta').map(({ delta }) => delta);
    expect(journal.slice(-2)).toEqual([1, -1]);
    const report = await json('carts', 'try', 'main-shop', '--sku', 'MUG');
    expect(report).toMatchObject({
      inTime: true,
      steps: [
        { delta: 1, seen: true, quantity: 15 },
        { delta: -1, seen: true, quantity: 14 },
      ],
    });
  });

  it('try names a paused lane before it changes anything, and a cart that is down after a while, and puts the piece back', async () => {
    await onhand('carts', 'pause', 'main-shop', '--reason', 'stocktaking');
    const paused = await onhand('carts', 'try', 'main-shop', '--sku', 'MUG');
    expect(paused).toMatchObject({
      code: 1,
      err: expect.stringMatching(/"dispatched": The lane is paused.*stocktaking.*carts resume main-shop/),
    });
    expect((await onhand('lanes')).out).toMatch(/main-shop +red/);
    await onhand('carts', 'resume', 'main-shop');

    await shop.kill();
    const down = await onhand('carts', 'try', 'main-shop', '--sku', 'MUG', '--late-after', '1', '--give-up-after', '4');
    shop = await startShop('seti', { dir: shop.dir, port: Number(new URL(shop.url).port) });
    expect(down.code).toBe(5);
    expect(down.err).toContain('+1 is late (1.0 s)');
    expect(down.out).toMatch(/It stands still before "(dispatched|attempt|answered)": .*(ECONNREFUSED|refused)/);
    expect(down.out).toContain('onhand carts test main-shop');
    await expect.poll(async () => (await json('stack', 'list', '--state', 'waits')).data, settled).toEqual([]);
    expect((await shop.stock()).get('MUG')).toBe(14);
    expect((await json('item', 'MUG')).onHand).toBe(14);
  });

  it('try puts the piece back when it is interrupted', async () => {
    await shop.faults({ delayBeforeMs: 3_000 });
    const running = startCli(['carts', 'try', 'main-shop', '--sku', 'MUG'], access());
    await expect.poll(async () => (await json('item', 'MUG')).onHand, settled).toBe(15);
    running.signal('SIGINT');
    const ended = await running.ended;
    expect(ended).toMatchObject({ code: 130, out: expect.stringContaining('The piece is put back.') });
    expect((await json('item', 'MUG')).onHand).toBe(14);
    await shop.faults({});
    await expect.poll(async () => (await shop.stock()).get('MUG'), settled).toBe(14);
  });
});

describe('what waits for a person', () => {
  it('dead letters are listed, put back and given up; the Web Stack tells every hop', async () => {
    await expect.poll(async () => (await json('stack', 'list', '--state', 'waits')).data, settled).toEqual([]);
    await shop.faults({ unknownKeys: ['MUG'] });
    await onhand('receive', 'MUG', '1', '-l', 'main');
    await expect.poll(async () => (await onhand('dead-letters', 'list')).out, settled).toMatch(/main-shop +MUG +\+1/);
    expect((await onhand('dead-letters', 'redrive', 'main-shop', '--dry-run')).out).toContain('dead letter → waiting');
    await shop.faults({});
    expect((await onhand('dead-letters', 'redrive', 'main-shop')).out).toContain('1 records wait again.');
    await expect.poll(async () => (await shop.stock()).get('MUG'), settled).toBe(15);
    const asked = await onhand('dead-letters', 'discard', 'main-shop', 'MUG', '--reason', 'test');
    expect(asked).toMatchObject({ code: 2, err: expect.stringContaining('add --yes') });
    expect((await onhand('dead-letters', 'discard', 'main-shop', 'MUG', '--reason', 'test', '--yes')).out).toContain(
      '0 records',
    );
    expect((await onhand('quarantined', 'list')).out).toBe('Nothing is quarantined.\n');
    expect(await onhand('quarantined', 'resolve', 'main-shop', 'MUG', 'was-applied')).toMatchObject({ code: 1 });
    const [record] = (await json('stack', 'list', '--cart', 'main-shop', '--limit', '1')).data;
    expect((await onhand('stack', 'show', record.id)).out).toMatch(/HOP +TOOK +AT +ABOUT\nrecorded/);
    expect((await onhand('stack', 'first', 'main-shop')).out).toBe('Nothing waits for main-shop.\n');
  });
});

describe('the hub', () => {
  it('keys are made once, and revoked by what they begin with after a yes', async () => {
    const made = await onhand('keys', 'create', 'the till', '--scope', 'read');
    const key = made.out.trim();
    expect(key).toMatch(/^ohk_/);
    const file = path.join(dir, 'till.key');
    await writeFile(file, `${key}\n`);
    const till = (...args: string[]) => runHere([...args, '--url', hub.url, '--key-file', file]);
    expect(await till('lanes')).toMatchObject({ code: 0 });
    expect(await till('receive', 'MUG', '1', '-l', 'main')).toMatchObject({
      code: 4,
      err: expect.stringContaining('"operate"'),
    });
    expect(await onhand('keys', 'revoke', key)).toMatchObject({ code: 2 });
    expect(await onhand('keys', 'revoke', key, '--yes')).toMatchObject({
      code: 0,
      out: 'The key "the till" is revoked.\n',
    });
    expect(await till('lanes')).toMatchObject({ code: 4 });
    expect((await onhand('keys', 'list')).out).toContain('the till');
  });

  it('doctor is content with a hub that is well, and says how to mend one that is not', async () => {
    await expect.poll(async () => (await onhand('doctor')).code, { timeout: 20_000 }).toBe(0);
    const healthy = await onhandProcess('doctor');
    expect(healthy.out).toMatch(/All is well\.\n$/);
    expect(healthy.out).toContain('Connection to main-shop: works');
    expect(await onhand('system', 'off')).toMatchObject({ code: 2 });
    expect((await onhand('system', 'off', '--yes')).out).toContain('off: nothing is sent');
    const ill = await onhand('doctor');
    expect(ill.code).toBe(1);
    expect(ill.out).toMatch(/WRONG +Lane main-shop: off: The system switch is off\n +→ onhand system on/);
    expect(JSON.parse((await onhand('doctor', '--json', '--no-cart-tests')).out)).toMatchObject({ well: false });
    await onhand('system', 'on');
    expect((await onhand('projections', 'status')).out).toMatch(/^State +following/);
  });

  it('a wrong key, no key, a hub that is away and one that is no hub each have their code and sentence', async () => {
    const wrongKey = await startCli(['lanes'], { ONHAND_URL: hub.url, ONHAND_API_KEY: 'ohk_wrong' }).ended;
    expect(wrongKey).toMatchObject({ code: 4, out: '', err: expect.stringContaining('Send a valid API key') });
    expect(await runHere(['lanes'], { ONHAND_URL: hub.url })).toMatchObject({
      code: 4,
      err: expect.stringContaining('ONHAND_API_KEY'),
    });
    const away = { ONHAND_URL: 'http://127.0.0.1:1', ONHAND_API_KEY: ownerKey };
    expect(await startCli(['lanes'], away).ended).toMatchObject({
      code: 3,
      err: expect.stringContaining('from ONHAND_URL'),
    });
    const doctor = await runHere(['doctor'], away);
    expect(doctor).toMatchObject({ code: 3, out: expect.stringContaining('WRONG    Hub') });
    expect(await runHere(['lanes'], { ...away, ONHAND_URL: shop.pageUrl })).toMatchObject({ out: '' });
    const clear = await runHere(['lanes', '--api-key', ownerKey], { ONHAND_URL: hub.url });
    expect(clear).toMatchObject({ code: 0, err: expect.stringContaining('Warning') });
    const late = await startCli(['lanes', '--timeout', '0.001'], access()).ended;
    expect(late).toMatchObject({ code: 5, err: expect.stringContaining('did not answer within') });
  });

  it('the hub is found by the file in its data directory', async () => {
    await writeFile(path.join(dir, 'hub.json'), JSON.stringify({ url: hub.url, pid: 1 }));
    const found = await startCli(['lanes'], { ONHAND_DATA_DIR: dir, ONHAND_API_KEY: ownerKey }).ended;
    expect(found).toMatchObject({ code: 0, out: expect.stringContaining('main-shop') });
  });
});
