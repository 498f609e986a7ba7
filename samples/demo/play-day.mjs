// The day itself, from the opening to the closing of the shops.
import { setTimeout as sleep } from 'node:timers/promises';
import { conclude } from './conclude.mjs';
import { playFirstActs } from './first-acts.mjs';
import { Kill } from './kill.mjs';
import { LaneWatch } from './lane-watch.mjs';
import { Meter } from './meter.mjs';
import { Model, randomOf } from './model.mjs';
import { connectShops, fillShops, loadCatalogue, untilQuiet } from './opening.mjs';
import { Outage, laneInShort, showLanes } from './outage.mjs';
import { OUTAGE, planDay } from './plan.mjs';
import { plural } from './screen.mjs';
import { CollisionGuard, TradingDay } from './trading-day.mjs';
import { differencesOf, gather } from './verdict.mjs';

const AGREE_TIMEOUT_MS = 30_000;
const RUSH_SALES = 10;

/** From the opening to the closing of the shops. */
export async function playDay({ hub, shops, catalogue, beside, options, screen }) {
  const both = Object.values(shops);
  screen.heading('Opening');
  await fillShops(both, catalogue, options.seed);
  await loadCatalogue({ hub, screen }, catalogue);
  await connectShops({ hub, screen }, both);
  const morning = both.map((shop) => new Map(shop.stock));
  const openedAt = Date.now();

  const model = new Model(catalogue);
  if (beside) {
    const meter = new Meter(model.totals([]), both);
    model.onChange = (sku, delta) => meter.move(sku, delta);
    beside.measure(meter);
  }
  const guard = new CollisionGuard();
  const day = new TradingDay({ hub, shops, model, guard, beside });
  const rush = () => void rushHour(day, catalogue, options.seed).catch(() => undefined);
  const kill = new Kill({ hub, shops, screen, guard, beside, killAt: options.killAt, rush });
  const lanes = new LaneWatch(hub, (rows) =>
    screen.progress(`${rows.map(laneInShort).join(', ')}; ${plural(kill.calls, 'delivery', 'deliveries')} so far`),
  );
  const outage = new Outage({ hub, shop: shops.B, screen, beside });
  const watching = lanes.run();
  watching.catch(() => undefined);
  kill.watch();

  screen.heading('One thing at a time');
  await playFirstActs({ day, shops, screen, beside });
  screen.heading('The day in fast motion');
  const plan = planDay(catalogue, options.seed);
  const done = Promise.all([
    day.run(plan).then(() => untilKilled({ day, kill, catalogue, seed: options.seed })),
    sleep(OUTAGE.atMs).then(() => outage.run(OUTAGE.lengthMs)),
    calmDown({ hub, kill, guard }),
  ]);
  // What goes on beside the day ends it only by failing.
  await Promise.race([done, failureOf(watching), failureOf(kill.done)]);
  screen.event(
    `the day is over: ${day.tally.bought} orders in the shops, ${day.tally.soldOut} customers found an item sold out, ${day.tally.closed} a closed shop; ${plural(hub.resent, 'call')} to the hub sent again under the same key`,
  );
  lanes.stop();
  await closeDay({ hub, shops: both, model, day, screen });
  lanes.add({ cartId: shops.B.cartId, key: null, from: outage.downAt, to: outage.upAt });
  return conclude({ hub, both, model, morning, openedAt, lanes, outage, kill, screen, beside });
}

/** Many small sales at the till at once, so that several deliveries are open when the hub is killed. */
async function rushHour(day, catalogue, seed) {
  const random = randomOf(seed + 2);
  const inStore = catalogue.filter((item) => item.pieces['STORE'] >= 6).map((item) => item.sku);
  const first = random.between(0, inStore.length - RUSH_SALES);
  await Promise.all(inStore.slice(first, first + RUSH_SALES).map((sku) => day.sell([sku], 1)));
}

/** Once the hub is back and nothing is in doubt any more, customers may buy what they like again. */
async function calmDown({ hub, kill, guard }) {
  await kill.done;
  for (;;) {
    const { data } = await hub.get('/v1/lanes');
    if (data.every((lane) => lane.inDoubt === 0) && Date.now() > kill.backAt + 3_000) break;
    await sleep(100);
  }
  guard.active = false;
}

/** A day with too few deliveries for --kill-at goes on until there were enough. */
async function untilKilled({ day, kill, catalogue, seed }) {
  const random = randomOf(seed + 3);
  while (kill.killedAt === 0) {
    await day.receive(random.pick(catalogue).sku, random.between(1, 3));
    await sleep(20);
  }
  await kill.done;
}

/** The evening: what was sold beyond what there was comes in, and everything that is on its way arrives. */
async function closeDay({ hub, shops, model, day, screen }) {
  screen.heading('Closing');
  await untilAgreed({ hub, shops, model, screen });
  const orders = (await Promise.all(shops.map((shop) => shop.orders()))).flat();
  const short = [...model.totals(orders)].filter(([, pieces]) => pieces <= 0);
  const oversold = short.filter(([, pieces]) => pieces < 0);
  if (short.length > 0) {
    screen.event(
      `${short.length} items are sold out${oversold.length > 0 ? `, ${oversold.length} of them sold in both shops before either could know (${oversold.map(([sku]) => sku).join(', ')})` : ''}; the supplier brings more`,
    );
    await day.receiveMany(short.map(([sku, pieces]) => ({ sku, quantity: 10 - pieces })));
  }
  await untilAgreed({ hub, shops, model, screen });
  await showLanes(hub, screen);
}

/** Waits until the hub knows all the shops sold and nothing is on its way; after a while it is taken as it is. */
async function untilAgreed({ hub, shops, model, screen }) {
  const deadline = Date.now() + AGREE_TIMEOUT_MS;
  while (Date.now() < deadline) {
    await untilQuiet(hub, screen);
    const verdict = await gather({ hub, shops, model, records: [] });
    if (differencesOf(verdict).length === 0) return;
    screen.progress('not all is where it belongs yet …');
    await sleep(200);
  }
}

const failureOf = (/** @type {Promise<unknown>} */ promise) => promise.then(() => new Promise(() => undefined));
