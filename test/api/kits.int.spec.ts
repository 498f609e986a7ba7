import { afterAll, beforeAll, expect, it } from 'vitest';
import { startHubUnderTest, type HubUnderTest } from './hub-under-test.js';

let hub: HubUnderTest;
beforeAll(async () => {
  hub = await startHubUnderTest();
  for (const sku of ['TENT', 'PEG', 'SET']) await hub.call('POST', '/v1/items', { sku, title: sku });
});
afterAll(() => hub.close());

it('makes an item a kit, shows it and the kits of a component, and takes that back', async () => {
  const components = [
    { sku: 'PEG', quantity: 8 },
    { sku: 'TENT', quantity: 1 },
  ];
  const set = await hub.call('PUT', '/v1/kits/SET', { components });
  expect([set.status, set.body.kit]).toMatchObject([200, { sku: 'SET', version: '1', components, parts: components }]);
  expect((await hub.call('GET', '/v1/kits?component=PEG')).body.data).toMatchObject([{ sku: 'SET' }]);
  expect((await hub.call('GET', '/v1/kits?component=SET')).body.data).toEqual([]);
  expect((await hub.call('DELETE', '/v1/kits/SET')).status).toBe(200);
  expect((await hub.call('GET', '/v1/kits/SET')).body.type).toBe('urn:onhand:problem:unknown-kit');
});

it.each([
  [{ components: [] }, 400, 'components'],
  [{ components: [{ sku: 'PEG', quantity: 0 }] }, 400, 'components.0.quantity'],
  [{ components: [{ sku: 'NOWHERE', quantity: 1 }] }, 404, 'components'],
  [{ components: [{ sku: 'SET', quantity: 1 }] }, 409, 'components'],
])('refuses %j', async (body, status, field) => {
  const answer = await hub.call('PUT', '/v1/kits/SET', body);
  expect([answer.status, answer.body.fields?.[0]?.field]).toEqual([status, field]);
});
