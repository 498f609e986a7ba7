import { expect } from 'vitest';
import { Projector } from '../../src/projections/projector.js';
import { ownerKey, type Answer, type HubUnderTest } from '../api/hub-under-test.js';
import { until } from '../support/until.js';

/** Sends a file as a program would: the body is the file. */
export async function send(
  hub: HubUnderTest,
  query: string,
  file: NonNullable<RequestInit['body']>,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(`${hub.url}/v1/imports?${query}`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${ownerKey}`, 'Content-Type': 'text/csv', ...headers },
    body: file,
    duplex: 'half',
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === '' ? null : JSON.parse(text) };
}

/** @returns the import as it stands where it has to wait for somebody, or at its end */
// oxlint-disable-next-line typescript/no-explicit-any
export async function ended(hub: HubUnderTest, id: string, timeoutMs = 30_000): Promise<any> {
  return until(
    `the import ${id} comes to rest`,
    async () => {
      const { body } = await hub.call('GET', `/v1/imports/${id}`);
      return ['ready', 'done', 'refused', 'cancelled'].includes(body.state) ? body : null;
    },
    timeoutMs,
  );
}

/** Sends a file that is taken in, and waits until it comes to rest. */
export async function run(hub: HubUnderTest, query: string, file: string) {
  const sent = await send(hub, query, file);
  expect(sent.body).toMatchObject({ id: expect.any(String) });
  expect(sent.status).toBe(202);
  return ended(hub, sent.body.id as string);
}

export async function onHand(hub: HubUnderTest, sku: string): Promise<number> {
  await hub.hub.app.get(Projector).caughtUp(20_000);
  const { body } = await hub.call('GET', `/v1/items/${encodeURIComponent(sku)}`);
  return body.onHand as number;
}

/** A place `main` and the items that are named. */
export async function given(hub: HubUnderTest, ...skus: string[]): Promise<void> {
  await hub.call('POST', '/v1/locations', { location: 'main', name: 'Main' });
  const items = skus.map((sku) => ({ sku, title: sku }));
  if (items.length > 0) await hub.call('POST', '/v1/items/batch', { items });
}
