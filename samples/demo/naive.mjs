// The same day beside Onhand's, with a naive hub and two sample shops of its own: the same movements, the same wishes of
// the same customers, the same outage and the same kill.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import readline from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { UNKNOWN_AT_B } from './catalogue.mjs';
import { DemoError, end } from './child.mjs';
import { Meter } from './meter.mjs';
import { Shop } from './shop.mjs';

const SAMPLE_MS = 250;
const START_TIMEOUT_MS = 20_000;
const SETTLE_TIMEOUT_MS = 20_000;
const ANSWER_TIMEOUT_MS = 30_000;

export class NaiveWorld {
  #url = '';
  /** @type {import('node:child_process').ChildProcess | undefined} */ #child;
  /** @type {Promise<unknown>} */ #restart = Promise.resolve();
  #sampling = false;

  static async start({ place, catalogue, undo }) {
    const dir = (name) => path.join(place, `naive-${name}`);
    const shops = {
      A: new Shop({
        kind: 'seti',
        letter: 'A',
        name: 'Naive shop A',
        cartId: '',
        dir: dir('a'),
        user: 'stoneedge',
        secret: 'sample-password',
      }),
      B: new Shop({
        kind: 'webhook',
        letter: 'B',
        name: 'Naive shop B',
        cartId: '',
        dir: dir('b'),
        secret: 'whsec_c2FtcGxlLXNob3Atc2VjcmV0LTMyLWJ5dGVzLWxvbmc=',
      }),
    };
    const world = new NaiveWorld();
    const stock = new Map(
      catalogue.map(({ sku, pieces }) => [sku, Object.values(pieces).reduce((sum, count) => sum + count, 0)]),
    );
    for (const shop of Object.values(shops)) {
      undo.push(() => shop.stop());
      await shop.start();
      const listed = catalogue.filter(({ sku }) => shop.kind === 'seti' || sku !== UNKNOWN_AT_B);
      await shop.load(listed.map(({ sku, title }) => ({ key: sku, title, quantity: stock.get(sku) })));
    }
    Object.assign(world, {
      shops,
      stock,
      file: path.join(place, 'naive-hub.json'),
      meter: new Meter(stock, Object.values(shops)),
    });
    undo.push(() => world.#stop());
    await world.#startHub();
    return world;
  }

  /** From here on it is measured, together with Onhand's shops. */
  measure(/** @type {Meter} */ ours) {
    this.ours = ours;
    this.#sampling = true;
    void this.#sample();
  }

  buy(/** @type {'A' | 'B'} */ shop, /** @type {{key: string, quantity: number}[]} */ lines) {
    return this.shops[shop].buy(lines);
  }

  /** A movement, told to the naive hub until it answers. */
  async move(/** @type {string} */ sku, /** @type {number} */ delta) {
    const deadline = Date.now() + ANSWER_TIMEOUT_MS;
    for (;;) {
      try {
        const headers = { 'content-type': 'application/json' };
        const response = await fetch(this.#url, { method: 'POST', headers, body: JSON.stringify({ sku, delta }) });
        await response.arrayBuffer();
        this.meter.move(sku, delta);
        return;
      } catch {
        if (Date.now() > deadline) throw new DemoError('The naive hub of --naive does not answer.');
        await sleep(50);
      }
    }
  }

  crash() {
    this.#child?.kill('SIGKILL');
    this.#restart = this.#startHub();
  }
  shopDown() {
    return this.shops.B.kill();
  }
  shopUp() {
    return this.shops.B.start();
  }

  /** After the day: lets it settle as far as it can, and prints both side by side. */
  async conclude(screen) {
    await this.#restart;
    this.#sampling = false;
    await this.#settle(screen);
    const [onhand, naive] = [this.ours.figures(), this.meter.figures()];
    screen.heading('The same day with absolute pushes and blind retries');
    screen.table([
      ['', 'Onhand', 'naive'],
      ['pieces sold that did not exist', onhand.oversold, naive.oversold],
      ['times a shop was told more pieces than there were', onhand.toldTooMany, naive.toldTooMany],
      ['items with a wrong number in a shop, on average', onhand.wrongAverage, naive.wrongAverage],
      ['  at the worst moment', onhand.wrongWorst, naive.wrongWorst],
      ['  after everything had settled', onhand.wrongAtClose, naive.wrongAtClose],
    ]);
    return { onhand, naive };
  }

  /** Until it has pushed all its numbers once more and nothing waits. */
  async #settle(screen) {
    const since = Date.now();
    screen.progress('the naive hub pushes all its numbers once more …');
    while (Date.now() < since + SETTLE_TIMEOUT_MS) {
      const { waiting, pushedAllAt } = await (await fetch(this.#url)).json();
      if (waiting === 0 && pushedAllAt > since + 1_000) return;
      await sleep(100);
    }
  }

  async #startHub() {
    const shops = Object.values(this.shops).map(({ kind, url, user, secret }) => ({ kind, url, user, secret }));
    const settings = { file: this.file, stock: Object.fromEntries(this.stock), shops };
    const port = this.#url === '' ? '0' : new URL(this.#url).port;
    const child = fork(fileURLToPath(new URL('naive-hub.mjs', import.meta.url)), [JSON.stringify(settings)], {
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
      env: { ...process.env, NAIVE_PORT: port },
    });
    this.#child = child;
    const lines = readline.createInterface({ input: child.stdout });
    const [line] = await once(lines, 'line', { signal: AbortSignal.timeout(START_TIMEOUT_MS) });
    this.#url = JSON.parse(line).listening;
  }

  async #sample() {
    while (this.#sampling) {
      this.meter.sample();
      this.ours.sample();
      await sleep(SAMPLE_MS);
    }
  }

  async #stop() {
    this.#sampling = false;
    if (this.#child) await end(this.#child, 'SIGTERM');
  }
}
