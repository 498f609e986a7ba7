// `--shops`: a busy hour at shops of the kinds that are named, side by side with one hub. Every minute they sell, goods come
// in, and things go wrong: answers that are cut, doors that are closed, a shop that dies. At the end everybody must agree.
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findShopServers, HOW_TO_GET_SHOP_SERVERS, installShopServersWithApt, startMariadb } from '../shop-servers.mjs';
import { readCatalogue } from './catalogue.mjs';
import { DemoError } from './child.mjs';
import { Hub } from './hub.mjs';
import { ORDER_LOCATION, randomOf } from './model.mjs';
import { connectShops, loadCatalogue, untilQuiet } from './opening.mjs';
import { EXIT } from './options.mjs';
import { makePlace, removePlace } from './place.mjs';
import { redisForDemo } from './redis-for-demo.mjs';
import { plural, seconds } from './screen.mjs';
import { Shop } from './shop.mjs';

const MINUTES = 60;
/** A simulated minute. */
const MINUTE_MS = 400;
const ITEMS = 40;
const AGREE_TIMEOUT_MS = 12_000;
const SECRET = 'whsec_c2FtcGxlLXNob3Atc2VjcmV0LTMyLWJ5dGVzLWxvbmc=';

/** What goes wrong in which minute, at one shop after the other. */
const TROUBLE = new Map([
  [8, { about: 'answers of three changes are lost', faults: { dropAfterApply: 3 } }],
  [16, { about: 'three changes never arrive', faults: { dropBeforeApply: 3 } }],
  [24, { about: 'closed for maintenance', faults: { refuse: true } }],
  [28, { about: 'open again', faults: {} }],
  [34, { about: 'two changes are made and answered with an error', faults: { failAfterApply: 2 } }],
  [42, { about: 'dies and comes back', restart: true }],
]);

/** @returns {Promise<number>} the exit code */
export async function playBusyHour({ options, screen, undo }) {
  screen.line(screen.paint('bold', `Onhand: a busy hour at ${options.shops.join(', ')}`));
  const place = await makePlace();
  undo.push(() => removePlace(place));
  const { hub, shops } = await open({ options, screen, undo, place });
  const catalogue = readCatalogue().slice(0, ITEMS);
  const truth = new Map(
    catalogue.map(({ sku, pieces }) => [sku, Object.values(pieces).reduce((sum, n) => sum + n, 0)]),
  );
  await Promise.all(
    shops.map((shop) =>
      shop.load(catalogue.map(({ sku, title }) => ({ key: sku, title, quantity: truth.get(sku) ?? 0 }))),
    ),
  );
  await loadCatalogue({ hub, screen }, catalogue);
  await connectShops({ hub, screen }, shops);

  screen.heading('The hour');
  const startedAt = Date.now();
  const account = await liveThrough({ hub, shops, truth, screen, random: randomOf(options.seed) });
  screen.event(
    `the hour is over after ${seconds(Date.now() - startedAt)}: ${plural(account.orders, 'order')} in the shops, ${account.received} pieces came in`,
  );
  const before = await explained(shops, await untilAgreed({ hub, shops, truth, screen }));
  const repaired = before.length > 0 ? await compareAll(hub, shops) : 0;
  const after = before.length > 0 ? await untilAgreed({ hub, shops, truth, screen }) : before;
  const [quarantined, deadLetters] = await Promise.all([hub.list('/v1/quarantined'), hub.list('/v1/dead-letters')]);
  const agree = after.length === 0 && quarantined.length === 0 && deadLetters.length === 0;
  tell(screen, { agree, before, after, repaired, quarantined, deadLetters });
  if (options.json) {
    const counts = { quarantined: quarantined.length, deadLetters: deadLetters.length };
    const summary = { agree, ...account, differed: before, repaired, stillDiffering: after, ...counts };
    process.stdout.write(`${JSON.stringify(summary)}\n`);
  }
  return agree ? EXIT.agree : EXIT.differ;
}

async function open({ options, screen, undo, place }) {
  screen.heading('Starting');
  const redis = options.redis ? await redisForDemo(place, (sentence) => screen.event(sentence)) : null;
  if (redis) undo.push(redis.stop);
  const database = options.shops.some((kind) => isBridged(kind)) ? await openMariadb(screen, undo) : undefined;
  const shops = options.shops.map((kind, n) => {
    const letter = String.fromCharCode(65 + n);
    const own = kind === 'seti' ? { user: 'stoneedge', secret: 'sample-password' } : { secret: SECRET };
    const dir = path.join(place, `shop-${kind}`);
    return new Shop({
      kind,
      letter,
      name: kind,
      cartId: `shop-${kind}`,
      dir,
      ...own,
      ...(isBridged(kind) && { database }),
    });
  });
  const hub = new Hub({ dataDir: path.join(place, 'hub'), redisUrl: redis?.url });
  undo.push(() => hub.stop());
  screen.progress('starting the hub and its shops …');
  await Promise.all([
    hub.start(),
    ...shops.map(async (shop) => {
      undo.push(() => shop.stop());
      await shop.start();
    }),
  ]);
  const words = { seti: 'a Stone Edge script', webhook: 'signed webhooks' };
  screen.table([
    ['hub', hub.url, ''],
    ...shops.map(({ kind, name, pageUrl }) => [name, pageUrl, words[kind] ?? 'our bridge, on PHP and MariaDB']),
  ]);
  return { hub, shops };
}

const isBridged = (/** @type {string} */ kind) => kind === 'oscommerce' || kind === 'x-cart';

/** Its data lies where the system's mysql user may enter, which a clone in root's home is not. */
async function openMariadb(screen, undo) {
  if (findShopServers() === undefined && !installShopServersWithApt((sentence) => screen.event(sentence)))
    throw new DemoError(`--shops: ${HOW_TO_GET_SHOP_SERVERS}`);
  const dir = mkdtempSync(path.join(os.tmpdir(), 'onhand-demo-mariadb-'));
  undo.push(() => rm(dir, { recursive: true, force: true }));
  const mariadb = await startMariadb({ dir });
  undo.push(() => mariadb.stop());
  const { host, port, user, password, client } = mariadb;
  return { host, port, user, password, client };
}

/** Sells and receives for an hour; `truth` is what there must be in the end, by plain sums. */
async function liveThrough({ hub, shops, truth, screen, random }) {
  const skus = [...truth.keys()];
  const account = { orders: 0, soldOut: 0, closed: 0, received: 0 };
  const sell = async (shop) => {
    const lines = [
      ...new Set([0, 1].slice(0, random.between(1, 2)).map(() => skus[random.between(0, skus.length - 1)])),
    ];
    const wanted = lines.map((key) => ({ key: key ?? '', quantity: random.between(1, 2) }));
    const outcome = await shop.buy(wanted);
    if (outcome === 'bought') {
      account.orders += 1;
      for (const { key, quantity } of wanted) truth.set(key, (truth.get(key) ?? 0) - quantity);
    } else account[outcome === 'closed' ? 'closed' : 'soldOut'] += 1;
  };
  for (let minute = 1; minute <= MINUTES; minute += 1) {
    const minuteEnds = sleep(MINUTE_MS);
    const trouble = TROUBLE.get(minute);
    if (trouble) await makeTrouble({ shops, screen, minute, trouble });
    await Promise.all(shops.map((shop) => sell(shop)));
    if (minute % 5 === 0) {
      const sku = skus[random.between(0, skus.length - 1)] ?? '';
      const quantity = random.between(5, 20);
      await hub.change('POST', '/v1/movements', {
        kind: 'received',
        sku,
        location: ORDER_LOCATION,
        quantity,
        reason: 'delivery',
      });
      truth.set(sku, (truth.get(sku) ?? 0) + quantity);
      account.received += quantity;
    }
    screen.progress(`minute ${minute} of ${MINUTES} …`);
    await minuteEnds;
  }
  await Promise.all(shops.map((shop) => shop.faults({})));
  return account;
}

/** At each shop the same, a moment apart, so that none is spared. */
async function makeTrouble({ shops, screen, minute, trouble }) {
  screen.event(`minute ${minute}: ${trouble.about}`);
  for (const shop of shops) {
    if (trouble.restart) {
      await shop.kill();
      await shop.start();
    } else await shop.faults(trouble.faults);
  }
}

/** @returns {Promise<{sku: string, right: number, hub: number, shops: number[]}[]>} who still differs when the time is up */
async function untilAgreed({ hub, shops, truth, screen }) {
  for (const deadline = Date.now() + AGREE_TIMEOUT_MS; ;) {
    await untilQuiet(hub, screen);
    const [items, ...stocks] = await Promise.all([hub.list('/v1/items'), ...shops.map((shop) => shop.items())]);
    const onHand = new Map(items.map((item) => [item.sku, item.onHand]));
    const shown = stocks.map((rows) => new Map(rows.map(({ key, quantity }) => [key, quantity])));
    const differing = [...truth].flatMap(([sku, right]) => {
      const row = { sku, right, hub: onHand.get(sku), shops: shown.map((stock) => stock.get(sku)) };
      // Where more was sold than there was, a shop must show nothing to sell.
      const wrong = row.hub !== right || row.shops.some((quantity) => (right > 0 ? quantity !== right : quantity > 0));
      return wrong ? [row] : [];
    });
    if (differing.length === 0 || Date.now() > deadline) return differing;
    await sleep(250);
  }
}

/** By the shops' own journals: what their checkouts wrote beside what they sold. osCommerce writes what is left, over whatever came between. */
async function explained(shops, differing) {
  if (differing.length === 0) return [];
  const told = await Promise.all(
    shops.map(async (shop) => ({ ...(await shop.journal()), orders: await shop.orders() })),
  );
  const sumOf = (numbers) => numbers.reduce((sum, one) => sum + one, 0);
  const swallowedAt = ({ journal, orders }, sku) =>
    sumOf(journal.filter(({ kind, key }) => kind === 'sale' && key === sku).map(({ delta }) => delta)) +
    sumOf(orders.flatMap(({ lines }) => lines.filter(({ key }) => key === sku).map(({ quantity }) => quantity)));
  return differing.map((row) => ({ ...row, swallowed: told.map((shop) => swallowedAt(shop, row.sku)) }));
}

/** What a scheduled comparison does: @returns {Promise<number>} how many listings it had to mend */
async function compareAll(hub, shops) {
  let mended = 0;
  for (const { cartId } of shops) {
    const { id } = await hub.change('POST', `/v1/carts/${cartId}/comparison`, { direction: 'send' });
    for (;;) {
      const status = await hub.get(`/v1/carts/${cartId}/comparison/${id}`);
      if (['failed', 'held', 'cancelled'].includes(status.state))
        throw new DemoError(`The comparison of ${cartId} is ${status.state}: ${status.error ?? status.why}`);
      if (status.state === 'done' && status.result !== null) {
        mended += status.result.differences;
        break;
      }
      await sleep(100);
    }
  }
  return mended;
}

function tell(screen, { agree, before, after, repaired, quarantined, deadLetters }) {
  screen.heading('The end');
  if (before.length === 0) screen.event('the hub and every shop show the same, and it is what plain sums say');
  else screen.event(`${plural(before.length, 'item')} differed; a comparison mended ${plural(repaired, 'listing')}`);
  for (const { sku, swallowed } of before)
    if (swallowed.some((pieces) => pieces !== 0))
      screen.line(`  ${sku}: checkouts wrote over changes that came between (${swallowed.join(', ')} pieces)`);
  for (const row of after)
    screen.line(`  ${row.sku}: should be ${row.right}, hub ${row.hub}, shops ${row.shops.join(', ')}`);
  screen.event(`${quarantined.length} in quarantine, ${plural(deadLetters.length, 'dead letter')}`);
  for (const { key, cartId, response } of quarantined) screen.line(`  ${cartId} ${key}: ${response ?? ''}`);
  screen.line(screen.paint(agree ? 'green' : 'red', agree ? 'Everything agrees.' : 'Something differs.'));
}
