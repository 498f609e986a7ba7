import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import readline from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

/**
 * A hub that is started where something is wrong ends with 1 and a sentence that says what to do, and shows no secret. A
 * second start on the same data directory, and one with a broken key file, are in embedded-postgres.int.spec.ts and
 * cart-secrets.int.spec.ts; misspelt settings in config.spec.ts.
 */
const dist = (file: string) => fileURLToPath(new URL(`../../dist/${file}`, import.meta.url));
const encryptionKey = Buffer.alloc(32, 1).toString('base64');

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.close());

function start(
  env: Record<string, string>,
  args: readonly string[] = [],
  program = 'main.js',
  nodeArgs: string[] = [],
) {
  const inherited = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(ONHAND_|DATABASE_URL|REDIS_URL)/.test(name)),
  );
  const child = spawn(process.execPath, [...nodeArgs, dist(program), ...args], {
    env: { ...inherited, ONHAND_PORT: '0', ONHAND_LOG_JSON: 'true', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { out: '', err: '' };
  child.stdout.on('data', (data: Buffer) => (output.out += data.toString()));
  child.stderr.on('data', (data: Buffer) => (output.err += data.toString()));
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, ...output }));
  return { child, ended };
}

const external = (url: string) => ({ DATABASE_URL: url, ONHAND_ENCRYPTION_KEY: encryptionKey });
/** The run's own server, with a part of its address changed. */
function changed(change: (url: URL) => void): string {
  const url = new URL(database.url);
  change(url);
  return url.href;
}

describe('a start ends with a sentence', () => {
  const cases: readonly [what: string, env: () => Record<string, string>, words: RegExp][] = [
    ['where DATABASE_URL is no URL', () => external('my database hidden'), /DATABASE_URL: must be a URL such as/],
    ['where nobody answers', () => external('postgresql://u:hidden@127.0.0.1:1/x'), /127\.0\.0\.1:1 does not answer.*Check DATABASE_URL/],
    ['where the host is not known', () => external('postgresql://u:hidden@nobody.invalid/x'), /nobody\.invalid does not answer/],
    ['where the password is wrong', () => external(changed((url) => (url.password = 'hidden'))), /does not let the user ".+" in.*Check user and password/],
    ['where there is no such database', () => external(changed((url) => (url.pathname = '/nowhere'))), /has no database "nowhere".*createdb/],
    ['where no Redis answers', () => ({ ...external(database.url), REDIS_URL: 'redis://u:hidden@127.0.0.1:1' }), /Redis at 127\.0\.0\.1:1 does not let us in.*Check REDIS_URL/],
    ['where the data directory cannot be made', () => ({ ...external(database.url), ONHAND_DATA_DIR: '/dev/null/onhand' }), /data directory \/dev\/null\/onhand cannot be used.*ONHAND_DATA_DIR/],
  ]; // prettier-ignore
  it.each(cases)('%s', async (_what, env, words) => {
    const { code, err } = await start({ ONHAND_DATA_DIR: await temporaryDirectory(), ...env() }).ended;
    expect(err).toMatch(words);
    expect(err).not.toMatch(/hidden|\n {4}at /);
    expect(code).toBe(1);
  });

  it('where another program has the port', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const env = { ...external(database.url), ONHAND_DATA_DIR: await temporaryDirectory(), ONHAND_PORT: String(port) };
    const { code, err } = await start(env).ended;
    server.close();
    expect([code, err]).toEqual([1, expect.stringMatching(/Port \d+ at 127\.0\.0\.1 is taken.*ONHAND_PORT/)]);
  });

  it.each([
    ['main.js', 1],
    ['cli.js', 2],
  ])('where Node is too old: %s', async (program, exitCode) => {
    const fake = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.4' } })`;
    const nodeArgs = ['--import', `data:text/javascript,${encodeURIComponent(fake)}`];
    const { code, err } = await start({}, ['--help'], program, nodeArgs).ended;
    expect([code, err]).toEqual([exitCode, expect.stringMatching(/needs Node 20\.19 or newer; this is 18\.20\.4/)]);
  });
});

describe('tables', () => {
  const migrate = (url: string) => start(external(url), ['migrate']).ended;

  it('of a newer program are left alone', async () => {
    const newer = await createTestDatabase();
    await newer.pool.query('UPDATE drizzle.__drizzle_migrations SET created_at = 9000000000000');
    const { code, err } = await migrate(newer.url);
    await newer.close();
    expect([code, err]).toEqual([1, expect.stringMatching(/This program is older than the database/)]);
  });

  it('of an older one are brought up to date, or the start says why not and what to run', async () => {
    const older = await createTestDatabase();
    // Tables are there of which nothing is noted: as after a restore of half a backup.
    await older.pool.query('TRUNCATE drizzle.__drizzle_migrations');
    const { code, err } = await migrate(older.url);
    await older.close();
    expect([code, err]).toEqual([1, expect.stringMatching(/could not be brought up to date: .*migrate/)]);
    expect(await migrate(database.url)).toMatchObject({ code: 0, out: 'The tables are up to date.\n' });
  });
});

/** A hub that has taken a request whose body it waits for. */
async function askedInTheMiddle(settings: Record<string, string> = {}) {
  const key = 'a-key-that-is-long-enough-0001';
  const dir = await temporaryDirectory();
  const env = { ...external(database.url), ONHAND_DATA_DIR: dir, ONHAND_OWNER_KEY: key, ONHAND_ROLES: 'api' };
  const hub = start({ ...env, ...settings });
  let url = '';
  for await (const line of readline.createInterface({ input: hub.child.stdout })) {
    const entry = JSON.parse(line) as Record<string, string>;
    if (entry['event'] !== 'listening') continue;
    url = entry['url']!;
    break;
  }
  const body = JSON.stringify({ location: 'main', name: 'Main' });
  const asked = request(`${url}/v1/locations`, {
    method: 'POST',
    headers: {
      'X-API-Key': key,
      'Content-Type': 'application/json',
      'Content-Length': body.length,
      Expect: '100-continue',
    },
  });
  // The hub says "continue" when it has taken the request.
  asked.flushHeaders();
  await once(asked, 'continue');
  asked.write(body.slice(0, 10));
  const live = () =>
    fetch(`${url}/v1/health/live`).then(
      ({ status }) => status,
      () => 'closed',
    );
  return { hub, asked, live, rest: body.slice(10) };
}

it('a signal in the middle of a request lets it be finished, and the process ends with 0', async () => {
  const { hub, asked, live, rest } = await askedInTheMiddle();
  hub.child.kill('SIGTERM');
  await expect.poll(live).not.toBe(200);
  asked.end(rest);
  const [answer] = await once(asked, 'response');
  expect(answer.statusCode).toBe(201);
  expect(await hub.ended).toMatchObject({ code: 0 });
  const { rows } = await database.pool.query(`SELECT count(*)::int AS n FROM events WHERE type = 'LocationAdded'`);
  expect(rows).toEqual([{ n: 1 }]);
});

it('a second signal ends it at once, although a request is under way', async () => {
  const { hub, asked, live } = await askedInTheMiddle({ ONHAND_SHUTDOWN_TIMEOUT_MS: '60000' });
  const broken = once(asked, 'error');
  hub.child.kill('SIGTERM');
  await expect.poll(live).not.toBe(200);
  expect(hub.child.exitCode).toBe(null);
  hub.child.kill('SIGTERM');
  expect(await hub.ended).toMatchObject({ code: 1, err: expect.stringContaining('SIGTERM again: ending at once.') });
  await broken;
});

it('a body that does not come whole in time is refused, and nothing of it is recorded', async () => {
  const { hub, asked, live } = await askedInTheMiddle({ ONHAND_BODY_TIMEOUT_MS: '1000' });
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  expect([answer.statusCode, answer.headers['connection']]).toEqual([408, 'close']);
  expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
  expect(JSON.parse(await text(answer))).toMatchObject({
    type: 'urn:onhand:problem:request-timeout',
    detail: expect.stringMatching(/within 1 s; nothing was recorded/),
  });
  asked.destroy();
  expect(await live()).toBe(200);
  const { rows } = await database.pool.query(`SELECT count(*)::int AS n FROM events WHERE type = 'LocationAdded'`);
  expect(rows).toEqual([{ n: 1 }]);
  hub.child.kill('SIGTERM');
  expect(await hub.ended).toMatchObject({ code: 0 });
});
