import { expect } from 'vitest';
import { ownerKey, type HubUnderTest } from '../api/hub-under-test.js';
import { until } from '../support/until.js';

export const header = 'facilityId,locationSeqId,idType,idValue,availableQty\n';
/** Rows of a reset file for the location `main`. */
export const rowsOf = (quantities: Readonly<Record<string, number | string>>) =>
  Object.entries(quantities)
    .map(([sku, quantity]) => `main,,SKU,${sku},${quantity}\n`)
    .join('');

export async function addSource(hub: HubUnderTest, id: string, settings: object = {}): Promise<void> {
  const { status, body } = await hub.call('POST', '/v1/reset-sources', { id, includesOrders: 'all', ...settings });
  expect([status, body.id]).toEqual([201, id]);
}

// The shape of an answer is what the tests are about; they read it freely.
// oxlint-disable-next-line typescript/no-explicit-any
type Shown = any;

/** Sends a file and waits until it comes to rest. */
export async function sendFile(hub: HubUnderTest, source: string, file: string, query = ''): Promise<Shown> {
  const response = await fetch(`${hub.url}/v1/reset-sources/${source}/files?${query}`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${ownerKey}`, 'Content-Type': 'text/csv' },
    body: file,
  });
  const body = (await response.json()) as { id: string };
  expect([response.status, body]).toEqual([202, expect.objectContaining({ source })]);
  return atRest(hub, body.id);
}

const resting = ['held', 'applied', 'refused', 'rejected', 'repeated', 'older'];

export const atRest = (hub: HubUnderTest, id: string): Promise<Shown> =>
  until(`the reset file ${id} comes to rest`, async () => {
    const { body } = await hub.call('GET', `/v1/reset-files/${id}`);
    return resting.includes(body.state) ? body : null;
  });

/** The files of a source, once so many have come to rest; the last seen first. */
export const filesAtRest = (hub: HubUnderTest, source: string, count: number): Promise<Shown[]> =>
  until(`${count} files of ${source} come to rest`, async () => {
    const { body } = await hub.call('GET', `/v1/reset-files?source=${source}`);
    const files = (body.data as Shown[]).filter((file) => resting.includes(file.state));
    return files.length >= count ? files : null;
  });

export const ago = (seconds: number) => new Date(Date.now() - seconds * 1_000).toISOString();
