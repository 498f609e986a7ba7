import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Projector } from '../../src/projections/projector.js';
import { ownerKey, startHubUnderTest, type HubUnderTest } from '../api/hub-under-test.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { runHere, startCli } from './run-cli.js';

/**
 * What careless and hostile hands type. Every row ends with the exit code that docs/cli.md names and a sentence, shows no
 * stack and no secret, and leaves every table as it was. The command lines that are wrong by themselves, before a hub is
 * asked, are in program.spec.ts.
 */
let hub: HubUnderTest;
let dir: string;
let tables: string[];
const keys: Record<string, string> = {};

beforeAll(async () => {
  dir = await temporaryDirectory();
  hub = await startHubUnderTest();
  await hub.call('POST', '/v1/locations', { location: 'main', name: 'Main' });
  await hub.call('POST', '/v1/items', { sku: '007', title: 'Agent' });
  await hub.call('POST', '/v1/movements', { kind: 'received', sku: '007', location: 'main', quantity: 10 });
  for (const name of ['read', 'operate', 'expired', 'revoked']) {
    const scope = name === 'operate' ? 'operate' : 'read';
    keys[name] = (await hub.call('POST', '/v1/api-keys', { name, scope })).body.key;
  }
  await hub.database.pool.query(`UPDATE api_keys SET revoked_at = now() WHERE name = 'revoked'`);
  await hub.database.pool.query(`UPDATE api_keys SET expires_at = now() - interval '1 day' WHERE name = 'expired'`);
  await hub.hub.app.get(Projector).caughtUp(20_000);
  const files: Record<string, string | Buffer> = {
    'unknown-column.csv': 'sku,location,colour\n007,main,red\n',
    'empty.csv': '',
    'half.csv': 'sku,location,kind,quantity\n007,main,received,1.5\n',
    'unknown-sku.csv': 'sku,location,kind,quantity\nNOPE,main,received,1\n',
    'quote.csv': 'sku,location,kind,quantity\n"007,main,received,1\n',
    'binary.csv': Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 0xff, 0xfe]),
    'no-key': '\n',
    'orders.txt': 'number,sku\n1,007\n',
  };
  for (const [name, content] of Object.entries(files)) await writeFile(path.join(dir, name), content);
  const found = await hub.database.pool.query<{ name: string }>(
    `SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'import%' ORDER BY 1`,
  );
  tables = found.rows.map(({ name }) => name);
});
afterAll(async () => {
  await hub.close();
  await rm(dir, { recursive: true, force: true });
});

/** Rows per table; imports are kept with what was wrong with them, on purpose. Answers to commands are kept, too. */
async function rowsOfEveryTable(): Promise<unknown> {
  const counts = tables
    .filter((name) => name !== 'commands')
    .map((name) => `(SELECT count(*) FROM "${name}") AS "${name}"`);
  return (await hub.database.pool.query(`SELECT ${counts.join(', ')}`)).rows[0];
}

interface Row {
  readonly args: readonly string[];
  readonly code: number;
  readonly words: RegExp;
  readonly env?: Readonly<Record<string, string>>;
}

const receive = (sku: string, quantity: string, ...more: string[]) => ['receive', sku, quantity, '-l', 'main', ...more];
const row = (code: number, words: RegExp, ...args: string[]): Row => ({ args, code, words });
const file = (name: string) => `{dir}/${name}`;
/** Below the ports that systems hand out, and where no browser's list of bad ports has one. */
const away = 'http://127.0.0.1:1024';

const groups: Readonly<Record<string, readonly Row[]>> = {
  'a SKU': [
    row(1, /There is no item with the SKU NOPE;/, ...receive('NOPE', '1')),
    row(1, /"sku": must not be empty/, ...receive('', '1')),
    row(1, /"sku": must have at most 255 characters/, ...receive('x'.repeat(256), '1')),
    row(1, /There is no item with the SKU 🍵;/u, ...receive('🍵', '1')),
    row(1, /There is no item with the SKU 7;/, ...receive('7', '1')),
    row(1, /There is no item with the SKU 0007;/, ...receive('0007', '1')),
    row(1, /"sku": must not begin or end with a space/, ...receive(' 007', '1')),
    row(1, /"sku": must be printable text/, ...receive('00\u00007', '1')),
    row(1, /"sku": must be printable text/, ...receive('a\nb', '1')),
    row(1, /no item with the SKU ' OR 1=1 --;/, ...receive("' OR 1=1 --", '1')),
    row(1, /no item with the SKU \.\.\/\.\.\/etc\/passwd;/, ...receive('../../etc/passwd', '1')),
    row(1, /no item/i, 'item', 'NOPE'),
    row(1, /no item/i, 'item', '../api-keys'),
    row(1, /no item/i, 'item', 'ledger', 'NOPE'),
    row(1, /no item/i, 'explain', 'NOPE'),
    row(1, /has no listing of "007"/, 'explain', '007', '--cart', 'nowhere'),
    row(2, /--at must be a time/, 'explain', '007', '--at', 'noon'),
    row(1, /must not be in the future/, 'explain', '007', '--at', '2999-01-01'),
    row(1, /no item/i, 'items', 'change', 'NOPE', '--title', 'X'),
    row(1, /There is an item with the SKU 007 already/, 'items', 'create', '007', 'Again'),
  ],
  'a quantity': [
    row(2, /The quantity must be a whole number/, ...receive('007', '1.5')),
    row(2, /The quantity must be a whole number/, ...receive('007', '1,000')),
    row(2, /The quantity must be a whole number/, ...receive('007', '1e3')),
    row(2, /The quantity must be a whole number/, ...receive('007', '0x10')),
    row(2, /The quantity must be a whole number/, ...receive('007', '')),
    row(2, /The quantity must be a whole number/, ...receive('007', 'NaN')),
    row(2, /The quantity must be a whole number/, ...receive('007', 'Infinity')),
    row(2, /The quantity must be a whole number/, ...receive('007', '99999999999999999999')),
    row(1, /"quantity": .*1000000000/, ...receive('007', '1000000001')),
    row(1, /"quantity": must be 1 or more/, ...receive('007', '0')),
    row(1, /"quantity": must be 1 or more/, ...receive('007', '-0')),
    row(1, /"quantity": must be 1 or more/, ...receive('007', '-5')),
    row(1, /"delta": must not be 0/, 'adjust', '007', '-0', '-l', 'main'),
    row(1, /"quantity": must be 0 or more/, 'count', '007', '-1', '-l', 'main'),
  ],
  'a time': [
    row(1, /in the future|after our clock/, ...receive('007', '1', '--occurred-at', '2999-01-01')),
    row(1, /since 1970/, ...receive('007', '1', '--occurred-at', '1969-12-31T00:00:00Z')),
    row(2, /--occurred-at/, ...receive('007', '1', '--occurred-at', 'yesterday')),
    row(2, /--occurred-at/, ...receive('007', '1', '--occurred-at', '2026-02-30')),
    row(2, /--occurred-at/, ...receive('007', '1', '--occurred-at', '')),
    row(2, /--at/, 'item', 'as-of', '007', '--at', '99/99/9999', '--by', 'business'),
  ],
  'other words': [
    row(1, /There is no location moon; add it first/, 'receive', '007', '1', '-l', 'moon'),
    row(1, /"location": must not contain "\/"/, 'receive', '007', '1', '-l', 'a/b'),
    row(2, /--reference/, ...receive('007', '1', '--reference', 'nonsense')),
    row(1, /"limit"/, 'items', 'list', '--limit', '201'),
    row(1, /nextCursor of the page before/, 'items', 'list', '--cursor', 'abc'),
    row(1, /no location moon/i, 'locations', 'change', 'moon', '--name', 'Moon'),
    row(2, /Name what to change/, 'locations', 'change', 'main'),
    row(2, /one effect/, 'rules', 'save', 'x', '--name', 'x'),
    row(2, /--cap must be a whole number/, 'rules', 'save', 'x', '--name', 'x', '--cap', 'many'),
    row(2, /must look like 2\/60/, 'rules', 'save', 'x', '--name', 'x', '--unconfirmed', '2'),
    row(1, /"effect\.percent": must be from 0 to 100/, 'rules', 'save', 'x', '--name', 'x', '--share', '101'),
    row(1, /"effect\.policy"/, 'rules', 'save', 'x', '--name', 'x', '--at-zero', 'explode'),
    row(1, /no rule "?nope/, 'rules', 'show', 'nope'),
    row(1, /No item has the tag nobody/, 'rules', 'save', 'x', '--name', 'x', '--cap', '1', '--tag', 'nobody', '--try'),
    row(1, /There is no cart no-such/, 'rules', 'save', 'x', '--name', 'x', '--cap', '1', '--cart', 'no-such', '--try'),
    row(1, /no rule nope to remove/, 'rules', 'remove', 'nope', '--try'),
    row(2, /must be a SKU and a whole number, such as PEG=8/, 'kits', 'set', '007', 'PEG'),
    row(2, /must be a SKU and a whole number/, 'kits', 'set', '007', 'PEG=0'),
    row(2, /must be a SKU and a whole number/, 'kits', 'set', '007', 'PEG=1e3'),
    row(1, /There is no item with the SKU PEG/, 'kits', 'set', '007', 'PEG=8'),
    row(1, /A kit cannot contain itself/, 'kits', 'set', '007', '007=1'),
    row(1, /"component" is missing/, 'import', file('unknown-sku.csv'), '--kind', 'kits'),
    row(1, /cart/, 'rules', 'refused', '--cart', 'No Such'),
    row(1, /007 is no kit/, 'kits', 'show', '007'),
    row(1, /007 is no kit/, 'kits', 'remove', '007'),
    row(1, /There is no order "NOPE"/, 'orders', 'post-mortem', 'NOPE'),
    row(1, /no rule nope/, 'rules', 'remove', 'nope'),
    row(1, /no rule "?nope/, 'rules', 'undo', 'nope'),
    row(2, /must be 0 or more/, 'doubtful', 'count', '007', 'main', 'few'),
    row(1, /There is no item with the SKU NOPE/, 'doubtful', 'write-off', 'NOPE', 'main'),
    row(1, /"withinSeconds"/, 'point-of-sale', 'repeats', '--within', '0'),
    row(2, /--includes-orders none, shipped or all/, 'reset', 'add', 'erp'),
    row(2, /user@files/, 'reset', 'add', 'erp', '--includes-orders', 'all', '--sftp', 'nowhere'),
    row(2, /--place must look like WH=main/, 'reset', 'add', 'erp', '--includes-orders', 'all', '--place', 'WH'),
    row(2, /one of --at, --every and --by-hand/, 'reset', 'change', 'erp', '--at', '04:00', '--every', '5'),
    row(2, /Name what to change/, 'reset', 'change', 'erp'),
    row(1, /no reset source "nope"/i, 'reset', 'look', 'nope'),
    row(1, /no reset source "nope"/i, 'reset', 'test', 'nope'),
    row(1, /"id"/, 'reset', 'show', 'nope'),
    row(2, /--with-orders or --without-orders/, 'counts', 'open', 'main'),
    row(1, /no location moon/i, 'counts', 'open', 'moon', '--with-orders'),
    row(2, /must look like MUG=5/, 'counts', 'add', 'nope', 'MUG'),
    row(1, /"id"/, 'counts', 'show', 'nope'),
    row(1, /no order/i, 'orders', 'show', 'NOPE'),
    row(1, /no transfer/i, 'transfer', 'receive', 'NOPE'),
    row(1, /no cart/i, 'carts', 'show', 'nope'),
    row(1, /no cart/i, 'carts', 'probe', 'nope', '--sku', 'MUG'),
    row(2, /Name one item/, 'carts', 'probe', 'nope'),
    row(2, /Name one item/, 'carts', 'probe', 'nope', '--sku', 'MUG', '--key', '4711'),
    row(1, /no cart/i, 'qoh', 'send', '--cart', 'nope'),
    row(1, /"tag"/, 'qoh', 'send', '--tag', 'two words'),
    row(1, /"id" in the path: must be the id of a run/, 'qoh', 'show', '7'),
    row(1, /There is no run/, 'qoh', 'cancel', '00000000-0000-4000-8000-000000000000'),
    row(1, /There is no run/, 'qoh', 'resume', '00000000-0000-4000-8000-000000000000'),
    row(1, /There is no run/, 'qoh', 'differences', '00000000-0000-4000-8000-000000000000'),
    row(1, /no cart/i, 'carts', 'switch-on', 'nope'),
    row(2, /--right/, 'carts', 'switch-on', 'nope', '--right', 'both'),
    row(2, /--preview creates nothing/, 'carts', 'get-qoh', 'nope', '--create-new-products', '--preview'),
    row(1, /No push "x" is held/, 'pushes', 'show', 'x', 'nope'),
    row(1, /No push "x" is held/, 'pushes', 'let-through', 'x', 'nope', '--reason', 'y'),
    row(2, /required option '--reason/, 'pushes', 'reject', 'x', 'nope'),
    row(2, /Name both/, 'carts', 'change', 'nope', '--guard-share', '5'),
    row(1, /no cart/i, 'carts', 'compare', 'nope'),
    row(1, /no cart/i, 'drifts', 'carts', 'nope'),
    row(1, /There is no drift 7/, 'drifts', 'show', '7'),
    row(1, /"drift" in the path: must be the number of a drift/, 'drifts', 'show', 'seven'),
    row(1, /"state"/, 'drifts', 'list', '--state', 'odd'),
    row(1, /"action"/, 'drifts', 'resolve', '7', 'hope', '--reason', 'x'),
    row(1, /There is no drift 7/, 'drifts', 'resolve', '7', 'accept', '--reason', 'x'),
    row(2, /required option '--reason/, 'drifts', 'resolve', '7', 'accept'),
    row(1, /no cart/i, 'carts', 'pause', 'nope', '--reason', 'x'),
    row(1, /no cart/i, 'carts', 'send-now', 'nope'),
    row(2, /--orders-from must be number:1001/, 'carts', 'change', 'nope', '--orders-from', '1001'),
    row(2, /--orders-from must be number:1001/, 'carts', 'change', 'nope', '--orders-from', 'number:'),
    row(2, /--orders-from must be number:1001/, 'carts', 'change', 'nope', '--orders-from', 'date:'),
    row(2, /--orders-from must be number:1001/, 'carts', 'change', 'nope', '--orders-from', 'all'),
    row(1, /"ordersFrom\.date": must be a day/, 'carts', 'change', 'nope', '--orders-from', 'date:June'),
    row(1, /"ordersFrom\.date": must be a day/, 'carts', 'change', 'nope', '--orders-from', 'date:2026-02-30'),
    row(1, /no cart/i, 'carts', 'change', 'nope', '--orders-from', 'number:1001'),
    row(1, /no cart/i, 'carts', 'change', 'nope', '--orders-from', 'none'),
    row(2, /goes with a cron pattern/, 'carts', 'change', 'nope', '--cadence', 'on-demand', '--time-zone', 'UTC'),
    row(2, /unknown command 'fly'/, 'fly'),
    row(2, /unknown option '--loud'/, ...receive('007', '1', '--loud')),
    row(2, /missing required argument 'quantity'/, 'receive', '007'),
    row(2, /too many arguments/, 'receive', '007', '1', '2'),
  ],
  'a file': [
    row(2, /There is no file .*missing\.csv/, 'import', file('missing.csv'), '--kind', 'movements'),
    row(2, /There is no file/, 'import', '{dir}', '--kind', 'movements'),
    row(2, /required option '--kind/, 'import', file('half.csv')),
    row(2, /Allowed choices are movements/, 'import', file('half.csv'), '--kind', 'wishes'),
    row(1, /colour/, 'import', file('unknown-column.csv'), '--kind', 'movements'),
    row(1, /empty|no row|header|first row/i, 'import', file('empty.csv'), '--kind', 'movements'),
    row(1, /1 of 1 rows is wrong, so nothing is applied/, 'import', file('half.csv'), '--kind', 'movements'),
    row(1, /1 of 1 rows is wrong, so nothing is applied/, 'import', file('unknown-sku.csv'), '--kind', 'movements'),
    row(1, /quot/i, 'import', file('quote.csv'), '--kind', 'movements'),
    row(1, /./, 'import', file('binary.csv'), '--kind', 'movements'),
    row(2, /not JSON/, 'orders', 'import', file('orders.txt')),
    row(2, /directory|no such file|cannot be read/i, 'orders', 'import', '{dir}'),
    row(2, /directory|no such file|cannot be read/i, 'lanes', '--key-file', '{dir}'),
    row(2, /not an API key/, 'lanes', '--key-file', file('no-key')),
  ],
};

const filled = (text: string) => text.replace('{dir}', dir);

async function expectSentence({ args, code, words, env = {} }: Row): Promise<void> {
  const before = await rowsOfEveryTable();
  const access = { ONHAND_URL: hub.url, ONHAND_API_KEY: ownerKey, ...env };
  const plain = await runHere(args.map(filled), access);
  expect(plain).toMatchObject({ code, err: expect.stringMatching(words) });
  // A file that was refused is a result, too; nothing else is.
  expect(plain.out).toMatch(args[0] === 'import' ? /^(refused: 0 applied.*\n)?$/ : /^$/);
  expectNothingOfOurInside(plain.err);

  const asJson = await runHere([...args.map(filled), '--json'], access);
  // The end of an import is no error answer: its sentence is in the JSON.
  expect([asJson.code, asJson.err + asJson.out]).toEqual([code, expect.stringMatching(words)]);
  // What the hub answered, or nothing: a script may parse whatever stands there.
  if (asJson.out !== '') expect(JSON.parse(asJson.out)).toBeTypeOf('object');
  expectNothingOfOurInside(asJson.err + asJson.out);
  expect(await rowsOfEveryTable()).toEqual(before);
}

function expectNothingOfOurInside(text: string): void {
  expect(text).not.toMatch(/\n {4}at |node_modules|\.[jt]s:\d|SELECT |Zod|undefined/);
  for (const key of [ownerKey, ...Object.values(keys)]) expect(text).not.toContain(key);
}

for (const [what, rows] of Object.entries(groups)) {
  describe(`${what} that cannot be`, () => {
    it.each(rows.map((one) => [one.args.map((arg) => (arg.length > 60 ? `${arg.slice(0, 9)}…` : arg)), one] as const))(
      '%j',
      (_shown, one) => expectSentence(one),
    );
  });
}

describe('a key or a hub that is not the right one', () => {
  it.each<[what: string, code: number, words: RegExp, args: readonly string[], env: () => Record<string, string>]>([
    ['a wrong key', 4, /Send a valid API key/, ['lanes'], () => ({ ONHAND_API_KEY: 'ohk_wrong' })],
    ['an expired key', 4, /valid API key/, ['lanes'], () => ({ ONHAND_API_KEY: keys['expired']! })],
    ['a revoked key', 4, /valid API key/, ['lanes'], () => ({ ONHAND_API_KEY: keys['revoked']! })],
    ['a key that may only look', 4, /"operate"/, receive('007', '1'), () => ({ ONHAND_API_KEY: keys['read']! })],
    ['a key that may not make keys', 4, /"admin"/, ['keys', 'create', 'x'], () => ({ ONHAND_API_KEY: keys['operate']! })],
    ['no key', 4, /An API key is needed/, ['lanes'], () => ({ ONHAND_API_KEY: '' })],
    ['a hub that is away', 3, /No hub answers at .*the connection is refused/, ['lanes'], () => ({ ONHAND_URL: away })],
    ['a name nobody knows', 3, /No hub answers at/, ['lanes'], () => ({ ONHAND_URL: 'http://hub.invalid' })],
    ['an address that is none', 2, /"hub" is not the address of a hub/, ['lanes'], () => ({ ONHAND_URL: 'hub' })],
    ['another scheme', 2, /is not the address of a hub/, ['lanes'], () => ({ ONHAND_URL: 'ftp://hub' })],
    ['a path that is no hub’s', 1, /There is no GET/, ['lanes'], () => ({ ONHAND_URL: `${hub.url}/elsewhere` })],
  ])('%s', async (_what, code, words, args, env) => {
    await expectSentence({ args, code, words, env: env() });
  }, 60_000); // prettier-ignore

  it('and the real process ends in the same way', async () => {
    const access = { ONHAND_URL: hub.url, ONHAND_API_KEY: ownerKey };
    const refused = await startCli([...receive('NOPE', '1'), '--json'], access).ended;
    expect(refused).toMatchObject({ code: 1, err: expect.stringMatching(/There is no item with the SKU NOPE;/) });
    expect(JSON.parse(refused.out)).toMatchObject({ type: 'urn:onhand:problem:unknown-item', status: 404 });
    expect(await startCli(['fly'], access).ended).toMatchObject({ code: 2, out: '' });
  });
});
