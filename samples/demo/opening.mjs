// Before the day: locations, items and stock through the public API, both shops as carts, the first comparison, the
// switches on, and everything equal.
import { setTimeout as sleep } from 'node:timers/promises';
import { DemoError } from './child.mjs';
import { LOCATIONS, UNKNOWN_AT_B } from './catalogue.mjs';
import { ORDER_LOCATION, randomOf } from './model.mjs';
import { plural, seconds } from './screen.mjs';

const BATCH = 200;
/** Of so many items each shop shows a wrong number in the morning, so that the first comparison has something to mend. */
const WRONG_SHARE = 0.2;
const EQUAL_TIMEOUT_MS = 60_000;
const COMPARE_TIMEOUT_MS = 60_000;
/** With fewer pieces a probe leaves out what it sends two at a time. */
const PROBE_PIECES_MIN = 8;

/**
 * Short times, so that a day fits into seconds: a call gives up after 1.5 s, and what is in doubt is settled 1.5 s after
 * that, because this sample script is known to work no longer on a call. The shipped defaults are 20 s and a minute,
 * since real scripts run on for as long as their web server lets them; orders are then asked for every 5 s.
 */
const FAST_MOTION = { requestTimeoutMs: 1_500, quietTimeMs: 1_500, pollIntervalMs: 500 };

/** The shops have their stock already, some of it wrong; shop B has never heard of one item. */
export async function fillShops(
  shops,
  /** @type {import('./catalogue.mjs').CatalogueItem[]} */ catalogue,
  /** @type {number} */ seed,
) {
  const random = randomOf(seed + 1);
  for (const shop of shops) {
    const items = catalogue
      .filter(({ sku }) => shop.kind === 'seti' || sku !== UNKNOWN_AT_B)
      .map(({ sku, title, pieces }) => {
        const right = Object.values(pieces).reduce((sum, count) => sum + count, 0);
        return { key: sku, title, quantity: random.next() < WRONG_SHARE ? random.between(0, 99) : right };
      });
    await shop.load(items);
  }
}

export async function loadCatalogue(
  { hub, screen },
  /** @type {import('./catalogue.mjs').CatalogueItem[]} */ catalogue,
) {
  const startedAt = Date.now();
  for (const location of LOCATIONS) await hub.change('POST', '/v1/locations', location);
  for (const items of chunksOf(catalogue)) {
    expectAccepted(
      await hub.change('POST', '/v1/items/batch', { items: items.map(({ sku, title }) => ({ sku, title })) }),
    );
  }
  const movements = catalogue.flatMap(({ sku, pieces }) =>
    Object.entries(pieces)
      .filter(([, quantity]) => quantity > 0)
      .map(([location, quantity]) => ({ kind: 'received', sku, location, quantity, reason: 'opening stock' })),
  );
  for (const rows of chunksOf(movements))
    expectAccepted(await hub.change('POST', '/v1/movements/batch', { movements: rows }));
  screen.event(
    `loaded ${plural(catalogue.length, 'item')} at ${LOCATIONS.map(({ location }) => location).join(' and ')} in ${seconds(Date.now() - startedAt)}`,
  );
}

/** @returns {Promise<void>} once both carts are switched on and nothing waits for them any more */
export async function connectShops({ hub, screen }, /** @type {import('./shop.mjs').Shop[]} */ shops) {
  for (const shop of shops) await addCart(hub, shop);
  for (const shop of shops.filter(({ kind }) => kind === 'seti')) await probe({ hub, screen }, shop);
  const reports = await Promise.all(shops.map((shop) => compare(hub, shop)));
  for (const [n, { result }] of reports.entries()) {
    const missing = result.notListed.length === 0 ? '' : `, does not list ${result.notListed.join(', ')}`;
    screen.event(`${shops[n].name} compared (Send QOH): ${result.differences} of ${result.listings} differ${missing}`);
  }
  await hub.change('PUT', '/v1/system/switch', { on: true });
  const startedAt = Date.now();
  for (const shop of shops) await hub.change('PUT', `/v1/carts/${shop.cartId}/switch`, { on: true });
  await untilQuiet(hub, screen);
  screen.event(`every cart switched on and made equal in ${seconds(Date.now() - startedAt)}`);
}

/** Waits until nothing is on its way to any cart. Dead letters stay where they are. @returns {Promise<any[]>} the lanes */
export async function untilQuiet(hub, screen, timeoutMs = EQUAL_TIMEOUT_MS) {
  const deadline = Date.now() + timeoutMs;
  // Looked at twice: between an accepted change and its record there is a moment in which nothing seems to wait.
  for (let quiet = 0; ;) {
    const { data: lanes } = await hub.get('/v1/lanes');
    const open = lanes.reduce((sum, lane) => sum + lane.waiting + lane.inFlight + lane.inDoubt, 0);
    quiet = open === 0 ? quiet + 1 : 0;
    if (quiet === 3) return lanes;
    if (Date.now() > deadline) return lanes;
    if (open > 0) screen.progress(`${plural(open, 'record')} on the way …`);
    await sleep(100);
  }
}

async function addCart(hub, shop) {
  const body = { id: shop.cartId, name: shop.name, url: shop.url, username: shop.user, secret: shop.secret };
  const type = shop.kind;
  const stock = { locations: LOCATIONS.map(({ location }) => location), orderLocation: ORDER_LOCATION };
  // A checkout of osCommerce may write over a change; what it swallowed is made good without anybody being asked.
  const drifts = shop.database === undefined ? {} : { driftPolicy: 'repair' };
  await hub.change('POST', '/v1/carts', { ...body, type, ...stock, ...drifts, ...FAST_MOTION });
  await hub.change('PUT', `/v1/carts/${shop.cartId}/listings`, { allItems: true });
  if (shop.kind === 'webhook') await tellShopOfHub(hub, shop);
}

/** Shop B sends its orders there by itself. */
export async function tellShopOfHub(hub, shop) {
  await shop.setHub(`${hub.url}/v1/carts/${shop.cartId}/webhooks`);
}

/** What does this script do with a change? Tried on one item, which is put back. */
async function probe({ hub, screen }, shop) {
  const items = await shop.items();
  const { key } = items.find(({ quantity }) => quantity >= PROBE_PIECES_MIN) ?? items[0];
  const { statusUrl } = await hub.change('POST', `/v1/carts/${shop.cartId}/probe`, { key });
  const deadline = Date.now() + COMPARE_TIMEOUT_MS;
  for (;;) {
    const { state, error, found } = await hub.get(statusUrl);
    if (state === 'done' && found.unusable === null) break;
    if (state === 'done' || state === 'failed' || Date.now() > deadline)
      throw new DemoError(`The probe of ${shop.name} is ${state}: ${error ?? found?.unusable ?? 'no error was told'}`);
    await sleep(50);
  }
  screen.event(`${shop.name} probed with ${key}, which is put back: it adds, one change at a time`);
}

async function compare(hub, shop) {
  const { id } = await hub.change('POST', `/v1/carts/${shop.cartId}/comparison`, { direction: 'send' });
  const deadline = Date.now() + COMPARE_TIMEOUT_MS;
  for (;;) {
    const status = await hub.get(`/v1/carts/${shop.cartId}/comparison/${id}`);
    if (status.state === 'done' && status.result !== null) return status;
    if (['failed', 'held', 'cancelled'].includes(status.state) || Date.now() > deadline) {
      throw new DemoError(
        `The comparison of ${shop.name} is ${status.state}: ${status.error ?? status.why ?? 'no error was told'}`,
      );
    }
    await sleep(50);
  }
}

function expectAccepted(answer) {
  if (answer.refused === 0) return;
  const first = answer.outcomes.find((outcome) => outcome.problem);
  throw new DemoError(`The hub refused ${answer.refused} rows of the catalogue; the first: ${first?.problem?.detail}`);
}

function* chunksOf(/** @type {any[]} */ rows) {
  for (let at = 0; at < rows.length; at += BATCH) yield rows.slice(at, at + BATCH);
}
