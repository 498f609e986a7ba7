import { randomBytes } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clientAddress } from '../../src/modules/access/throttle.js';
import { until } from '../support/until.js';
import { describeWithRedis, startPrivateRedis } from '../support/redis.js';
import { call, ownerKey, startHubUnderTest, type Answer, type HubUnderTest } from './hub-under-test.js';

const wrongKey = () => ({ 'X-API-Key': `ohk_${randomBytes(32).toString('base64url')}` });

function expectTooMany(answer: Answer, words: RegExp): void {
  expect(answer.status).toBe(429);
  expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  expect(answer.body).toMatchObject({ type: expect.stringMatching(/too-many-requests$/), status: 429 });
  expect(answer.body.detail).toMatch(words);
  const waitS = Number(answer.headers.get('retry-after'));
  expect(waitS).toBeGreaterThanOrEqual(1);
  expect(waitS).toBeLessThanOrEqual(60);
}

/** Asks until refused; @returns how many were let in. */
async function untilRefused(ask: () => Promise<Answer>, most: number): Promise<{ letIn: number; refused: Answer }> {
  for (let letIn = 0; letIn <= most; letIn += 1) {
    const answer = await ask();
    if (answer.status === 429) return { letIn, refused: answer };
  }
  throw new Error(`${most} were let in, and nothing was refused`);
}

describe('one process', () => {
  let hub: HubUnderTest;
  /** Requests from another address than the owner's, as a proxy tells of them. */
  const from = (address: string) => ({ 'X-Forwarded-For': address });

  beforeAll(async () => {
    hub = await startHubUnderTest({
      ONHAND_CALLS_PER_MINUTE: '40',
      ONHAND_CALLS_WITHOUT_KEY_PER_MINUTE: '15',
      ONHAND_WRONG_KEYS_PER_MINUTE: '5',
      ONHAND_WEBHOOKS_PER_MINUTE: '7',
      ONHAND_TRUSTED_PROXIES: '127.0.0.1, ::1',
    });
  });
  afterAll(() => hub.close());

  const items = (headers: Record<string, string>) => call(`${hub.url}/v1/items`, 'GET', undefined, headers);
  const live = () => call(`${hub.url}/v1/health/live`, 'GET', undefined, from('192.0.2.1'));

  it('keys cannot be guessed quickly: even the right one is not looked at any more', async () => {
    const there = from('192.0.2.1');
    const { letIn, refused } = await untilRefused(() => items({ ...wrongKey(), ...there }), 5);
    expect(letIn).toBe(5);
    expectTooMany(refused, /wrong API keys.*Try again in \d+ s/);
    expectTooMany(await items({ 'X-API-Key': ownerKey, ...there }), /wrong API keys/);
  });

  it('a thousand guesses at the same moment are not all the first one', async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => items({ ...wrongKey(), ...from('192.0.2.2') })));
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(5);
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(45);
  });

  it('who was let in before is not held up by a neighbour with a wrong key, nor is the process said to be dead', async () => {
    expect((await items({ 'X-API-Key': ownerKey, ...from('192.0.2.3') })).status).toBe(200);
    await untilRefused(() => items({ ...wrongKey(), ...from('192.0.2.3') }), 5);
    expect((await items({ 'X-API-Key': ownerKey, ...from('192.0.2.3') })).status).toBe(200);
    for (let time = 0; time < 30; time += 1) expect((await live()).status).toBe(200);
  });

  it('a right key that is used for the first time by many calls at once is one try, not as many', async () => {
    const { body: made } = await hub.call('POST', '/v1/api-keys', { name: 'a client with many connections' });
    const busy = await hub.database.pool.connect();
    await busy.query('BEGIN; LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE');
    let arrived = 0;
    const count = () => (arrived += 1);
    subscribe('http.server.request.start', count);
    const calls = Array.from({ length: 30 }, () => items({ 'X-API-Key': made.key, ...from('192.0.2.8') }));
    await until('all of them have arrived, and wait for the key', () => arrived >= calls.length);
    unsubscribe('http.server.request.start', count);
    await busy.query('COMMIT');
    busy.release();
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(calls.map(() => 200));
  });

  it('the sign-in page counts its wrong keys too, and says so on the page', async () => {
    const signIn = (key: string) =>
      fetch(`${hub.url}/sign-in`, {
        method: 'POST',
        redirect: 'manual',
        headers: from('192.0.2.4'),
        body: new URLSearchParams({ key, to: '/' }),
      });
    for (let time = 0; time < 5; time += 1) expect((await signIn(`ohk_wrong_${time}`)).status).toBe(401);
    const refused = await signIn('ohk_wrong_again');
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await refused.text()).toMatch(/role="alert".*Too many wrong API keys/);
  });

  it('calls without a key are counted by address, an IPv6 user by the network that is his alone', async () => {
    const anonymous = (address: string) => call(`${hub.url}/sign-in`, 'GET', undefined, from(address));
    const { letIn, refused } = await untilRefused(() => anonymous('192.0.2.5'), 15);
    expect(letIn).toBe(15);
    expectTooMany(refused, /without a valid API key/);
    expect((await anonymous('192.0.2.6')).status).toBe(200);
    let host = 0;
    const spread = await untilRefused(() => anonymous(`2001:db8:0:1::${(host += 1).toString(16)}`), 15);
    expect(spread.letIn).toBe(15);
  });

  it('webhooks are counted apart: refused, not lost, and no key is held up', async () => {
    const send = () => call(`${hub.url}/v1/carts/none/webhooks`, 'POST', {}, from('192.0.2.7'));
    const { letIn, refused } = await untilRefused(send, 7);
    expect(letIn).toBe(7);
    expectTooMany(refused, /Nothing was taken; send it again in \d+ s/);
    expect((await items({ 'X-API-Key': ownerKey, ...from('192.0.2.7') })).status).toBe(200);
  });

  it('calls of a key are counted for that key alone', async () => {
    const { body: made } = await hub.call('POST', '/v1/api-keys', { name: 'a script that runs away' });
    const script = () => items({ 'X-API-Key': made.key });
    const { letIn, refused } = await untilRefused(script, 40);
    expect(letIn).toBe(40);
    expectTooMany(refused, /used up its calls of this minute.*batch/);
    expect((await hub.call('GET', '/v1/items')).status).toBe(200);
  });
});

it('nobody escapes by naming another address, unless a proxy that is trusted names it', async () => {
  const hub = await startHubUnderTest({ ONHAND_CALLS_WITHOUT_KEY_PER_MINUTE: '3', ONHAND_ROLES: 'api' });
  try {
    let host = 0;
    const { letIn } = await untilRefused(
      () => call(`${hub.url}/sign-in`, 'GET', undefined, { 'X-Forwarded-For': `192.0.2.${(host += 1)}` }),
      3,
    );
    expect(letIn).toBe(3);
  } finally {
    await hub.close();
  }
});

it.each([
  ['192.0.2.1', '192.0.2.1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:0db8:0001:0002::1', '2001:db8:1:2::/64'],
  ['no address', 'no address'],
])('counts %s as %s', (ip, client) => expect(clientAddress(ip)).toBe(client));

describeWithRedis('several processes with one Redis', () => {
  it('count together, and each for itself while Redis is away', async () => {
    const redis = await startPrivateRedis();
    const settings = { REDIS_URL: redis!.url, ONHAND_WRONG_KEYS_PER_MINUTE: '6', ONHAND_ROLES: 'api' };
    const hubs = [await startHubUnderTest(settings), await startHubUnderTest(settings)];
    const ask = (at: number) => call(`${hubs[at]!.url}/v1/items`, 'GET', undefined, wrongKey());
    const well = (at: number) => hubs[at]!.call('GET', '/v1/items');
    try {
      for (const at of [0, 1]) expect((await well(at)).status).toBe(200);
      for (const at of [0, 1, 0, 1, 0, 1]) expect((await ask(at)).status).toBe(401);
      for (const at of [0, 1]) expectTooMany(await ask(at), /wrong API keys/);
      await redis!.stop();
      for (const at of [0, 1]) expect((await well(at)).status).toBe(200);
      const alone = await untilRefused(() => ask(0), 6);
      expectTooMany(alone.refused, /wrong API keys/);
    } finally {
      await Promise.all(hubs.map((hub) => hub.close()));
      await redis!.stop();
    }
  });
});
