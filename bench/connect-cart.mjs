/** What a bench does to a shop is meant. */
const guard = { listingsMax: 10_000_000, sharePercent: 100 };

/** A cart that takes signed webhooks, listing every item, switched on and made equal. */
export async function connectCart(hub, { id, url, secret, locations = ['MAIN'] }) {
  await hub.ask('POST', '/v1/carts', { id, name: id, type: 'webhook', url, secret, locations, guard });
  await hub.ask('PUT', `/v1/carts/${id}/listings`, { allItems: true });
  await hub.ask('PUT', `/v1/carts/${id}/switch`, { on: true });
  const { statusUrl } = await hub.ask('POST', `/v1/carts/${id}/comparison`, { direction: 'send' });
  let comparison = await hub.ask('GET', statusUrl);
  while (comparison.state !== 'done') {
    if (['failed', 'held', 'cancelled'].includes(comparison.state)) throw new Error(JSON.stringify(comparison));
    await new Promise((resolve) => setTimeout(resolve, 100));
    comparison = await hub.ask('GET', statusUrl);
  }
}
