// A sample shop as a process of its own, and what its customers do.
import { fork } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { DemoError, end } from './child.mjs';

const START_TIMEOUT_MS = 20_000;
const folder = new URL('../shops/', import.meta.url);

/**
 * Emits `change` ({key, quantity, delta, kind, id, at, heardAt}) for every change of its stock and `call` ({call, moment})
 * for every writing call of the hub, as it happens.
 */
export class Shop extends EventEmitter {
  pageUrl = '';
  /** @type {Map<string, number>} what the shop shows, as it told us */ stock = new Map();
  #port = 0;
  /** @type {import('node:child_process').ChildProcess | undefined} */ #child;

  /** @param {{kind: 'seti' | 'webhook' | 'oscommerce' | 'x-cart', letter: string, name: string, cartId: string, dir: string, secret: string, user?: string, database?: object}} options `database`: of a shop with a bridge, its running MariaDB */
  constructor({ kind, letter, name, cartId, dir, secret, user = '', database }) {
    super();
    this.setMaxListeners(100);
    Object.assign(this, { kind, letter, name, cartId, dir, secret, user, database });
  }

  /** Starts the shop, or opens it again where it was: same address, same stock. */
  async start() {
    const args = ['--port', String(this.#port), '--dir', this.dir, '--name', this.name];
    if (this.kind === 'seti') args.push('--user', this.user);
    const bridged = this.database !== undefined;
    if (bridged) args.push('--family', this.kind, '--database', JSON.stringify(this.database));
    const child = fork(fileURLToPath(new URL(`${bridged ? 'php' : this.kind}-shop.mjs`, folder)), args, {
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
      env: { ...process.env, SHOP_PASSWORD: this.secret, SHOP_SECRET: this.secret },
    });
    this.#child = child;
    child.on('message', (message) => this.#hear(message));
    const lines = readline.createInterface({ input: child.stdout });
    const late = AbortSignal.timeout(START_TIMEOUT_MS);
    const [line] = await Promise.race([
      once(lines, 'line', { signal: late }),
      once(child, 'exit', { signal: late }).then(() => [undefined]),
    ]).catch(() => [undefined]);
    if (line === undefined) throw new DemoError(`${this.name} did not start.`);
    lines.close();
    child.stdout.resume();
    this.pageUrl = JSON.parse(line).listening;
    this.#port = Number(new URL(this.pageUrl).port);
    // Both ask for the other's end in `finally`; an abandoned wait must not end the demo.
    once(child, 'exit').catch(() => undefined);
  }

  /** What the hub calls. */
  get url() {
    const paths = { seti: 'seti.php', webhook: 'onhand' };
    return `${this.pageUrl}/${paths[this.kind] ?? `onhand-${this.kind}.php`}`;
  }

  kill() {
    return this.#child ? end(this.#child, 'SIGKILL') : Promise.resolve();
  }
  stop() {
    return this.#child ? end(this.#child, 'SIGTERM') : Promise.resolve();
  }

  load(/** @type {{key: string, title: string, quantity: number}[]} */ items) {
    return this.#post('/load', { items });
  }
  setHub(/** @type {string} */ url) {
    return this.#post('/hub', { url });
  }
  faults(/** @type {object} */ faults) {
    return this.#post('/faults', faults);
  }

  /** A customer buys. @returns {Promise<'bought' | 'sold out' | 'closed'>} closed: the shop does not answer */
  async buy(/** @type {{key: string, quantity: number}[]} */ lines) {
    try {
      await this.#post('/buy', { lines });
      return 'bought';
    } catch (error) {
      if (error.status === 409) return 'sold out';
      if (error.status === undefined) return 'closed';
      throw error;
    }
  }

  /** @returns {Promise<{key: string, title: string, quantity: number}[]>} */
  async items() {
    return (await this.#get('/stock')).items;
  }
  /** @returns {Promise<{number: string, placedAt: string, lines: {key: string, quantity: number}[]}[]>} */
  async orders() {
    return (await this.#get('/orders')).orders;
  }
  /** @returns {Promise<{journal: {at: string, kind: string, key: string, delta: number, quantity: number, id: string}[], outbox: number}>} */
  journal() {
    return this.#get('/journal');
  }

  /** Resolves with the milliseconds until the shop shows `quantity`, or undefined after `timeoutMs`. */
  untilShows(/** @type {string} */ key, /** @type {number} */ quantity, timeoutMs = 10_000) {
    const startedAt = performance.now();
    if (this.stock.get(key) === quantity) return Promise.resolve(0);
    return new Promise((resolve) => {
      const finish = (value) => {
        clearTimeout(timer);
        this.off('change', look);
        resolve(value);
      };
      const look = (change) => {
        if (change.key === key && change.quantity === quantity) finish(performance.now() - startedAt);
      };
      const timer = setTimeout(finish, timeoutMs);
      this.on('change', look);
    });
  }

  #hear(/** @type {any} */ message) {
    if (message.call !== undefined) this.emit('call', { shop: this, ...message });
    for (const change of message.changes ?? []) {
      this.stock.set(change.key, change.quantity);
      this.emit('change', { shop: this, ...change });
    }
  }

  async #get(/** @type {string} */ route) {
    return answerOf(`${this.name}${route}`, await fetch(this.pageUrl + route));
  }
  async #post(/** @type {string} */ route, /** @type {unknown} */ data) {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(this.pageUrl + route, { method: 'POST', headers, body: JSON.stringify(data) });
    return answerOf(`${this.name}${route}`, response);
  }
}

async function answerOf(/** @type {string} */ what, /** @type {Response} */ response) {
  const text = await response.text();
  if (response.ok) return JSON.parse(text);
  throw Object.assign(new DemoError(`${what} answered ${response.status}: ${text}`), { status: response.status });
}
