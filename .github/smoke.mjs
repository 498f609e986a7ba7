// Does a hub that was just started work? A location, an item, a receipt that is sent twice, and on hand read back through
// the projector. The hub is meant to be a new one: what this makes, it leaves.
//
//   ONHAND_OWNER_KEY=… node .github/smoke.mjs --url http://127.0.0.1:3000 [--workers 2]
import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';

const { values: options } = parseArgs({
  options: { url: { type: 'string', default: 'http://127.0.0.1:3000' }, workers: { type: 'string', default: '1' } },
});
const key = process.env['ONHAND_OWNER_KEY'];
const SEEN_WITHIN_MS = 20_000;
const CALL_MS_MAX = 10_000;

try {
  if (key === undefined || key === '')
    throw new Error('Set ONHAND_OWNER_KEY to the key that the hub was started with.');
  await smoke();
} catch (error) {
  console.error(`Smoke test failed: ${error.message}`);
  process.exitCode = 1;
}

async function smoke() {
  const sku = `SMOKE-${Date.now()}`;
  await call('POST', '/v1/locations', { location: sku, name: 'Smoke test' });
  await call('POST', '/v1/items', { sku, title: 'Smoke test' });
  const receipt = { kind: 'received', sku, location: sku, quantity: 7 };
  const first = await call('POST', '/v1/movements', receipt, `${sku}-receipt`);
  const again = await call('POST', '/v1/movements', receipt, `${sku}-receipt`);
  if (first.replayed || !again.replayed)
    throw new Error('The receipt that was sent twice was not taken for a repetition.');
  await call('POST', '/v1/movements', { kind: 'sold', sku, location: sku, quantity: 2 });
  await until(`5 of ${sku} are on hand`, async () => {
    const { body } = await call('GET', `/v1/items/${sku}`);
    return { there: body.onHand === 5, seen: body };
  });
  await until(`an api, a projector and ${options.workers} workers are awake`, async () => {
    const { body } = await call('GET', '/v1/status');
    const count = (role) => body.processes.filter(({ roles }) => roles.includes(role)).length;
    const there = count('api') > 0 && count('projector') > 0 && count('worker') === Number(options.workers);
    return { there, seen: body.processes };
  });
  await call('GET', '/v1/health/ready');
  console.log(`Received 7, sold 2: 5 of ${sku} are on hand, and every role is played.`);
}

/** @returns {Promise<{ body: any, replayed: boolean }>} */
async function call(method, path, body, idempotencyKey) {
  const response = await fetch(new URL(path, options.url), {
    method,
    headers: {
      Authorization: `Bearer ${key}`,
      ...(body !== undefined && { 'Content-Type': 'application/json' }),
      ...(idempotencyKey !== undefined && { 'Idempotency-Key': idempotencyKey }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(CALL_MS_MAX),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path} was answered with ${response.status}: ${text}`);
  return { body: JSON.parse(text), replayed: response.headers.get('Idempotent-Replayed') === 'true' };
}

async function until(what, look) {
  const end = Date.now() + SEEN_WITHIN_MS;
  for (;;) {
    const { there, seen } = await look();
    if (there) return;
    if (Date.now() > end)
      throw new Error(`Not within ${SEEN_WITHIN_MS / 1000} s: ${what}. Seen last: ${JSON.stringify(seen)}`);
    await sleep(100);
  }
}
