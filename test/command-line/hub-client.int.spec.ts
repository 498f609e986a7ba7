import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { HubClient, type HubRequest } from '../../src/command-line/hub-client.js';

/** A hub that answers as the test says, and notes what it was asked. */
async function hubThat(answer: (request: number, ...args: Parameters<RequestListener>) => void) {
  const asked: { method: string; url: string; headers: IncomingHttpHeaders }[] = [];
  const server = createServer((request, response) => {
    asked.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers });
    answer(asked.length, request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const said: string[] = [];
  const client = new HubClient({
    address: { url, from: '--url', dataDir: '/nowhere' },
    key: 'ohk_test',
    timeoutMs: 1_000,
    userAgent: 'onhand/test',
    verbose: (sentence) => void said.push(sentence),
    firstPauseMs: 1,
  });
  return { asked, client, said };
}

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

const receive: HubRequest = { method: 'POST', path: '/v1/movements', body: { sku: 'MUG' } };

it('a hub that is not ready or cuts the connection is asked again under the same key', async () => {
  const { asked, client } = await hubThat((nth, _request, response) => {
    if (nth === 1) response.writeHead(503).end('{}');
    else if (nth === 2) response.destroy();
    else if (nth === 3) response.writeHead(429, { 'retry-after': '0' }).end('{}');
    else response.writeHead(201, { 'content-type': 'application/json' }).end('{"facts": []}');
  });
  const answer = await client.send(receive);
  expect([answer.status, answer.text, answer.body]).toEqual([201, '{"facts": []}', { facts: [] }]);
  expect(asked).toHaveLength(4);
  expect(new Set(asked.map(({ headers }) => headers['idempotency-key'])).size).toBe(1);
  expect(asked[0]).toMatchObject({ method: 'POST', headers: { authorization: 'Bearer ohk_test' } });
});

it('it is asked a bounded number of times, and the sentence says how to ask again', async () => {
  const down = await hubThat((_nth, _request, response) => response.writeHead(503).end('{}'));
  await expect(down.client.send(receive)).rejects.toMatchObject({ exitCode: 3 });
  expect(down.asked).toHaveLength(5);
  const cut = await hubThat((_nth, _request, response) => response.destroy());
  await expect(cut.client.send({ ...receive, idempotencyKey: 'delivery-9' })).rejects.toMatchObject({
    exitCode: 3,
    message: expect.stringContaining('--idempotency-key delivery-9 and it counts once'),
  });
  expect(cut.asked).toHaveLength(5);
});

it('what must not be sent twice is not, once it may have arrived', async () => {
  const { asked, client } = await hubThat((_nth, _request, response) => response.destroy());
  await expect(client.send({ ...receive, repeatable: false })).rejects.toMatchObject({ exitCode: 3 });
  expect(asked).toHaveLength(1);
});

it('an answer that does not come in time ends with 5 and is not asked for again', async () => {
  const { asked, client } = await hubThat(() => undefined);
  await expect(client.send(receive)).rejects.toMatchObject({
    exitCode: 5,
    message: expect.stringContaining('within 1 s'),
  });
  expect(asked).toHaveLength(1);
});

it('refusals, redirects and pages that are no hub’s each end in their own way', async () => {
  const { client, asked } = await hubThat((_nth, { url }, response) => {
    if (url === '/refused') response.writeHead(409).end('{"type":"urn:onhand:problem:x","detail":"No."}');
    else if (url === '/forbidden') response.writeHead(403).end('{"type":"urn:onhand:problem:x","detail":"Not you."}');
    else if (url === '/moved') response.writeHead(302, { location: 'https://elsewhere/' }).end();
    else if (url === '/empty') response.writeHead(204).end();
    else response.writeHead(200).end('<html>');
  });
  await expect(client.get('/refused')).rejects.toMatchObject({ exitCode: 1, message: 'No.' });
  await expect(client.get('/forbidden')).rejects.toMatchObject({ exitCode: 4 });
  await expect(client.get('/moved')).rejects.toMatchObject({
    exitCode: 3,
    message: expect.stringContaining('https://elsewhere/'),
  });
  await expect(client.get('/page')).rejects.toMatchObject({
    exitCode: 3,
    message: expect.stringContaining('not as a hub does'),
  });
  expect((await client.get('/empty')).text).toBe('null');
  expect(asked.every(({ headers }) => headers['idempotency-key'] === undefined)).toBe(true);
});
