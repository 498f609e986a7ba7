/**
 * One movement per request over HTTP, 64 clients that keep their connections: our API in a process of its own, against a
 * bare Fastify route in a process of its own that checks nothing and runs the bare transaction.
 */
import { randomUUID } from 'node:crypto';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { startHub, startProcess } from './hub.mjs';
import { anySku, compare, skus } from './write-side.mjs';

const clients = 64;

export async function run({ databaseUrl, rounds, dataDir, log }) {
  const hub = await startHub({ databaseUrl, dataDir: path.join(dataDir, 'hub') });
  const bareRoute = fileURLToPath(new URL('bare-route.mjs', import.meta.url));
  const bare = await startProcess([bareRoute], { DATABASE_URL: databaseUrl });
  const agent = new http.Agent({ keepAlive: true, maxSockets: clients });
  try {
    await hub.ask('POST', '/v1/locations', { location: 'shop', name: 'Shop' });
    for (let at = 0; at < skus.length; at += 500)
      await hub.ask('POST', '/v1/items/batch', { items: skus.slice(at, at + 500).map((sku) => ({ sku, title: sku })) });
    const found = await compare({
      rounds,
      ms: 2_000,
      clients,
      ours: () =>
        post(
          agent,
          `${hub.url}/v1/movements`,
          { kind: 'adjusted', sku: anySku(), location: 'shop', delta: 1 },
          hub.key,
        ),
      baseline: () => post(agent, `${bare.url}/movements`, { sku: anySku() }),
    });
    log(`append-http, ${clients} clients: ${found.sentence}; ratio ${found.ratio}`);
    return { ratios: { c64: found.ratio }, bars: { c64: 1.0 } };
  } finally {
    agent.destroy();
    await bare.stop();
    await hub.stop();
  }
}

function post(agent, url, body, key) {
  const headers = { 'content-type': 'application/json', 'idempotency-key': randomUUID() };
  if (key !== undefined) headers.authorization = `Bearer ${key}`;
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method: 'POST', agent, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part) => (text += part));
      response.on('end', () =>
        response.statusCode === 201 ? resolve() : reject(new Error(`${url}: ${response.statusCode} ${text}`)),
      );
    });
    request.on('error', reject);
    request.end(JSON.stringify(body));
  });
}
