// The driver of the demo: starts a hub and two shops as processes of their own, plays the day, and says how it ended.
import { setTimeout as sleep } from 'node:timers/promises';
import path from 'node:path';
import { playBusyHour } from './busy-hour.mjs';
import { readCatalogue } from './catalogue.mjs';
import { DemoError } from './child.mjs';
import { Hub } from './hub.mjs';
import { NaiveWorld } from './naive.mjs';
import { EXIT } from './options.mjs';
import { makePlace, removePlace } from './place.mjs';
import { playDay } from './play-day.mjs';
import { redisForDemo } from './redis-for-demo.mjs';
import { createScreen, seconds } from './screen.mjs';
import { Shop } from './shop.mjs';
import { narrateSales, printAddresses } from './stay-open.mjs';

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
  const ends = [interrupted, ...(options.once || options.shops.length > 0 ? [timeout(options.timeoutMs)] : [])];
  const unlessEnded = (/** @type {Promise<any>} */ work) => {
    work.catch(() => undefined);
    return Promise.race([work, ...ends]);
  };
  try {
    if (options.shops.length > 0) return await unlessEnded(playBusyHour({ options, screen, undo }));
    const parts = await unlessEnded(setUp(options, screen, undo));
    const { summary, well } = await unlessEnded(playDay({ ...parts, options, screen }));
    if (options.json) process.stdout.write(`${JSON.stringify(summary)}\n`);
    const code = well ? EXIT.agree : EXIT.differ;
    if (options.once) return code;
    printAddresses(screen, parts.hub, Object.values(parts.shops));
    narrateSales(screen, parts.shops);
    await interrupted.catch(() => undefined);
    return code;
  } catch (error) {
    return explain(error, screen, options.json);
  } finally {
    screen.progress('ending everything …');
    for (let step = undo.pop(); step !== undefined; step = undo.pop())
      await Promise.resolve(step()).catch((error) => screen.line(String(error)));
    screen.progress('');
  }
}

/** Starts every process, in the order in which one needs the other. */
async function setUp(options, screen, undo) {
  screen.line(
    `${screen.paint('bold', 'Onhand: a trading day in fast motion')}   seed ${options.seed}, the hub is killed during delivery ${options.killAt}`,
  );
  screen.heading('Starting');
  const place = await makePlace();
  undo.push(() => removePlace(place));
  const redis = options.redis ? await redisForDemo(place, (sentence) => screen.event(sentence)) : null;
  if (redis) undo.push(redis.stop);
  const shops = {
    A: new Shop({
      kind: 'seti',
      letter: 'A',
      name: 'Shop A',
      cartId: 'shop-a',
      dir: path.join(place, 'shop-a'),
      user: 'stoneedge',
      secret: 'sample-password',
    }),
    B: new Shop({
      kind: 'webhook',
      letter: 'B',
      name: 'Shop B',
      cartId: 'shop-b',
      dir: path.join(place, 'shop-b'),
      secret: 'whsec_c2FtcGxlLXNob3Atc2VjcmV0LTMyLWJ5dGVzLWxvbmc=',
    }),
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

function explain(error, screen, json) {
  if (json) process.stdout.write(`${JSON.stringify({ agree: false, error: error.message })}\n`);
  if (error instanceof InterruptedError) {
    screen.line(`\n${error.message}`);
    return EXIT.interrupted;
  }
  // What the system refuses (a full disk, a folder that is not ours) is said in its own words; the rest is our fault.
  const expected = error instanceof DemoError || error.code !== undefined;
  screen.line(`\n${screen.paint('red', 'The demo broke off.')} ${expected ? error.message : error.stack}`);
  return error instanceof TimedOutError ? EXIT.timeout : EXIT.fault;
}

async function timeout(/** @type {number} */ ms) {
  await sleep(ms, undefined, { ref: false });
  throw new TimedOutError(`The day did not end within ${ms / 1000} s (--timeout).`);
}

/** Rejects at the first signal; a second one ends at once, and leaves what is running to end with us. */
function interruption() {
  return new Promise((_, reject) => {
    let asked = 0;
    const interrupt = () => {
      asked += 1;
      if (asked > 1) process.exit(EXIT.interrupted);
      reject(new InterruptedError('Interrupted; everything is being ended.'));
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, interrupt);
    // Nobody reads any more, as after `npm run demo | head`: writing on would throw, once for every line.
    for (const stream of [process.stdout, process.stderr]) {
      stream.on('error', () => asked === 0 && interrupt());
    }
  });
}
