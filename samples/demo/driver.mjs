// The driver of the demo: starts a hub and two shops as processes of their own, plays the day, and says how it ended.
import { setTimeout as sleep } from 'node:timers/promises';
import path from 'node:path';
import { readCatalogue } from './catalogue.mjs';
import { DemoError } from './child.mjs';
import { playFirstActs } from './first-acts.mjs';
import { Hub } from './hub.mjs';
import { Kill } from './kill.mjs';
import { LaneWatch } from './lane-watch.mjs';
import { Meter } from './meter.mjs';
import { Model, randomOf } from './model.mjs';
import { NaiveWorld } from './naive.mjs';
import { connectShops, fillShops, loadCatalogue, untilQuiet } from './opening.mjs';
import { EXIT } from './options.mjs';
import { Outage, showLanes } from './outage.mjs';
import { makePlace, removePlace } from './place.mjs';
import { OUTAGE, planDay } from './plan.mjs';
import { redisForDemo } from './redis-for-demo.mjs';
import { endedWell, printDeadLetters, printLatency, printProof, printTable, printTrace, summaryOf } from './report.mjs';
import { createScreen, seconds } from './screen.mjs';
import { Shop } from './shop.mjs';
import { narrateSales, printAddresses } from './stay-open.mjs';
import { CollisionGuard, TradingDay } from './trading-day.mjs';
import { differencesOf, gather, latenciesOf, lostAndDoubled } from './verdict.mjs';

const AGREE_TIMEOUT_MS = 30_000;
const RUSH_SALES = 10;

class TimedOutError extends DemoError {}
class InterruptedError extends DemoError {}

/**
 * @param {import('./options.mjs').Options} options
 * @returns {Promise<number>} the exit code
 */
export async function runDemo(options) {
  const screen = createScreen(options.json ? process.stderr : process.stdout);
  /** @type {(() => Promise<unknown> | void)[]} what has to be ended, the last first */
  const undo = [];
  const interrupted = interruption();
  // The promises that end the demo early are looked at here; a late one must not count as unhandled.
  interrupted.catch(() => undefined);
  try {
    const parts = { ...(await Promise.race([setUp(options, screen, undo), interrupted])), options, screen };
    const day = playDay(parts);
    day.catch(() => undefined);
    const { summary, well } = await Promise.race([day, interrupted, ...(options.once ? [timeout(options.timeoutMs)] : [])]);
    if (options.json) process.stdout.write(`${JSON.stringify(summary)}\n`);
    const code = well ? EXIT.agree : EXIT.differ;
    if (options.once) return code;
    printAddresses(screen, parts.hub, Object.values(parts.shops));
    narrateSales(screen, parts.shops);
    await interrupted.catch(() => undefined);
    return code;
  } catch (error) {
    return explain(error, screen);
  } finally {
    screen.progress('ending everything …');
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await Promise.resolve(step()).catch((error) => screen.line(String(error)));
    screen.progress('');
  }
}

/** Starts every process, in the order in which one needs the other. */
async function setUp(options, screen, undo) {
  screen.line(`${screen.paint('bold', 'Onhand: a trading day in fast motion')}   seed ${options.seed}, the hub is killed during delivery ${options.killAt}`);
  screen.heading('Starting');
  const place = await makePlace();
  undo.push(() => removePlace(place));
  const redis = options.redis ? await redisForDemo(place, (sentence) => screen.event(sentence)) : null;
  if (redis) undo.push(redis.stop);
  const shops = {
    A: new Shop({ kind: 'seti', letter: 'A', name: 'Shop A', cartId: 'shop-a', dir: path.join(place, 'shop-a'), user: 'stoneedge', secret: 'sample-password' }),
    B: new Shop({ kind: 'webhook', letter: 'B', name: 'Shop B', cartId: 'shop-b', dir: path.join(place, 'shop-b'), secret: 'whsec_c2FtcGxlLXNob3Atc2VjcmV0LTMyLWJ5dGVzLWxvbmc=' }),
  };
  const hub = new Hub({ dataDir: path.join(place, 'hub'), redisUrl: redis?.url });
  const startedAt = Date.now();
  undo.push(() => hub.stop());
  screen.progress('starting the hub and two shops …');
  const [, hubMs] = await Promise.all([
    Promise.all(
      Object.values(shops).map(async (shop) => {
        undo.push(() => shop.stop());
        await shop.start();
      }),
    ),
    hub.start().then(() => Date.now() - startedAt),
  ]);
  screen.table([
    ['hub', hub.url, `embedded PostgreSQL; lanes on ${redis?.about ?? 'PostgreSQL, too'}; up in ${seconds(hubMs)}`],
    ['Shop A', shops.A.pageUrl, 'speaks the Stone Edge script protocol (SETI), its orders are polled'],
    ['Shop B', shops.B.pageUrl, 'takes signed webhooks and sends its orders as such'],
  ]);
  const catalogue = readCatalogue();
  const beside = options.naive ? await NaiveWorld.start({ place, catalogue, undo }) : null;
  return { hub, shops, catalogue, beside };
}

/** From the opening to the closing of the shops. */
async function playDay({ hub, shops, catalogue, beside, options, screen }) {
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
  const lanes = new LaneWatch(hub);
  const outage = new Outage({ hub, shop: shops.B, screen, beside });
  const watching = lanes.run();
  watching.catch(() => undefined);
  kill.watch();

  screen.heading('One thing at a time');
  await playFirstActs({ day, shops, screen, beside });
  screen.heading('The day in fast motion');
  const plan = planDay(catalogue, options.seed);
  await Promise.race([
    Promise.all([day.run(plan), sleep(OUTAGE.atMs).then(() => outage.run(OUTAGE.lengthMs)), calmDown({ hub, kill, guard })]).then(() => undefined),
    watching,
    kill.done.then(() => new Promise(() => {})),
  ]);
  await untilKilled({ day, kill, catalogue, seed: options.seed, done: kill.done });
  screen.event(`the day is over: ${day.tally.bought} orders in the shops, ${day.tally.soldOut} customers found an item sold out, ${day.tally.closed} a closed shop; ${hub.resent} calls to the hub were sent again`);
  await closeDay({ hub, shops: both, model, day, screen });
  lanes.stop();
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
async function untilKilled({ day, kill, catalogue, seed, done }) {
  const random = randomOf(seed + 3);
  while (kill.killedAt === 0) {
    await day.receive(random.pick(catalogue).sku, random.between(1, 3));
    await sleep(20);
  }
  await done;
}

/** The evening: what was sold beyond what there was comes in, and everything that is on its way arrives. */
async function closeDay({ hub, shops, model, day, screen }) {
  screen.heading('Closing');
  await untilAgreed({ hub, shops, model, screen });
  const orders = (await Promise.all(shops.map((shop) => shop.orders()))).flat();
  const short = [...model.totals(orders)].filter(([, pieces]) => pieces <= 0);
  const oversold = short.filter(([, pieces]) => pieces < 0);
  if (short.length > 0) {
    screen.event(`${short.length} items are sold out${oversold.length > 0 ? `, ${oversold.length} of them sold twice in the same moment (${oversold.map(([sku]) => sku).join(', ')})` : ''}; the supplier brings more`);
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

async function conclude({ hub, both, model, morning, openedAt, lanes, outage, kill, screen, beside }) {
  const opened = new Date(openedAt).toISOString();
  const records = (await hub.list('/v1/web-stack')).filter((record) => record.acceptedAt >= opened);
  addTakeovers(lanes, kill, records);
  const verdict = await gather({ hub, shops: both, model, records });
  const differences = differencesOf(verdict);
  const proof = lostAndDoubled(verdict, morning, both, openedAt);
  const latency = latenciesOf(records, lanes);
  screen.line(`  ${kill.sentence(await kill.aftermath(records), proof)}`);
  await printTrace(screen, hub, records, both);
  printLatency(screen, latency, outage);
  printDeadLetters(screen, verdict.deadLetters, verdict.quarantined);
  printTable(screen, verdict, both, differences);
  printProof(screen, proof, verdict);
  const naive = (await beside?.conclude(screen)) ?? null;
  const summary = summaryOf({ verdict, differences, proof, latency, outage, model, kill, naive });
  return { summary, well: endedWell(summary, verdict.deadLetters) };
}

/**
 * A lane stands still from the kill until a worker has taken it over, which shows in its first delivery after that. What
 * was accepted by then waits in line; and a listing with something in doubt waits until that is settled.
 */
function addTakeovers(lanes, kill, /** @type {any[]} */ records) {
  const killed = new Date(kill.killedAt).toISOString();
  const back = new Date(kill.backAt).toISOString();
  for (const cartId of new Set(records.map((record) => record.cartId))) {
    const later = records.filter((record) => record.cartId === cartId && record.state === 'delivered' && record.endedAt > back);
    const taken = later.map((record) => record.endedAt).sort()[0] ?? back;
    const queued = later.filter((record) => record.acceptedAt <= taken && !kill.inFlight.has(record.id)).map((record) => record.endedAt);
    lanes.add({ cartId, key: null, from: kill.killedAt, to: Date.parse(queued.sort().at(-1) ?? taken) });
    for (const { key, endedAt } of later.filter((record) => record.acceptedAt <= killed)) {
      lanes.add({ cartId, key, from: kill.killedAt, to: Date.parse(endedAt) });
    }
  }
}

function explain(error, screen) {
  if (error instanceof InterruptedError) {
    screen.line(`\n${error.message}`);
    return EXIT.interrupted;
  }
  screen.line(`\n${screen.paint('red', 'The demo broke off.')} ${error instanceof DemoError ? error.message : error.stack}`);
  return error instanceof TimedOutError ? EXIT.timeout : EXIT.fault;
}

async function timeout(/** @type {number} */ ms) {
  await sleep(ms, undefined, { ref: false });
  throw new TimedOutError(`The day did not end within ${ms / 1000} s (--timeout).`);
}

/** Rejects at the first signal; a second one ends at once, and leaves what is running to end with us. */
function interruption() {
  return new Promise((_, reject) => {
    let signals = 0;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
      process.on(signal, () => {
        signals += 1;
        if (signals > 1) process.exit(EXIT.interrupted);
        reject(new InterruptedError('Interrupted; everything is being ended.'));
      });
    }
  });
}
