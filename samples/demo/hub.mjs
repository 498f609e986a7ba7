// The hub as the demo sees it: a process that may die at any moment, and an HTTP API.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { DemoError, Log, end, endWithUs } from './child.mjs';

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const START_TIMEOUT_MS = 120_000;
const CALL_TIMEOUT_MS = 10_000;
/** How long a client goes on asking a hub that does not answer. */
const ANSWER_TIMEOUT_MS = 60_000;
const RETRY_MS = 50;
const PAGE = 200;

/** An answer that no repetition will change. */
export class RefusedError extends DemoError {
  /** @override */ name = 'RefusedError';
  constructor(/** @type {string} */ call, /** @type {number} */ status, /** @type {any} */ problem) {
    super(`${call} was answered ${status}: ${problem?.detail ?? problem?.message ?? JSON.stringify(problem)}`);
    this.status = status;
  }
}

export class Hub {
  url = '';
  log = new Log();
  key = `demo-${randomBytes(24).toString('base64url')}`;
  /** How many calls had to be sent again because no answer came. */
  resent = 0;
  #port = 0;
  #keys = 0;
  #run = randomBytes(4).toString('hex');
  /** @type {import('node:child_process').ChildProcess | undefined} */ #child;
  #release = () => {};

  /** @param {{dataDir: string, redisUrl?: string | undefined}} options */
  constructor({ dataDir, redisUrl }) {
    this.dataDir = dataDir;
    this.redisUrl = redisUrl;
  }

  /** Starts the process and waits until it serves requests. A restart listens where the hub listened before. */
  async start({ anyPort = false } = {}) {
    if (anyPort) this.#port = 0;
    const child = spawn(process.execPath, [main], {
      cwd: path.dirname(path.dirname(main)),
      env: this.#environment(),
      // A process group of its own: Ctrl-C is for the driver, which then ends everything in order.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.#release = endWithUs(child.pid ?? 0);
    this.log.follow(child.stderr);
    const listening = new Promise((resolve) =>
      this.log.follow(child.stdout, (line) => {
        if (line.includes('"listening"')) resolve(JSON.parse(line).url);
      }),
    );
    const ended = once(child, 'exit').then(([code, signal]) => {
      throw new DemoError(
        `The hub ended (${signal ?? `code ${code}`}) before it listened. It said last:\n${this.log.tail()}`,
      );
    });
    ended.catch(() => undefined);
    const late = sleep(START_TIMEOUT_MS, undefined, { ref: false }).then(() => {
      throw new DemoError(
        `The hub did not listen within ${START_TIMEOUT_MS / 1000} s. It said last:\n${this.log.tail()}`,
      );
    });
    this.url = await Promise.race([listening, ended, late]);
    this.#port = Number(new URL(this.url).port);
    await this.get('/v1/health/ready');
  }

  /** No goodbye: the process is gone between two instructions. */
  kill() {
    this.#release();
    this.#child?.kill('SIGKILL');
  }

  get running() {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async stop() {
    this.#release();
    if (this.#child) await end(this.#child, 'SIGTERM', 20_000);
  }

  get(/** @type {string} */ route) {
    return this.call('GET', route);
  }

  /** All pages of a list. */
  async list(/** @type {string} */ route) {
    const rows = [];
    for (let cursor = ''; ;) {
      const page = await this.get(`${route}${route.includes('?') ? '&' : '?'}limit=${PAGE}${cursor}`);
      rows.push(...page.data);
      if (page.nextCursor === null) return rows;
      cursor = `&cursor=${encodeURIComponent(page.nextCursor)}`;
    }
  }

  /**
   * A change. It carries an idempotency key and is sent again with the same one until the hub answers, which is what
   * every client of a hub should do: a call whose answer was lost is neither lost nor done twice.
   */
  change(/** @type {'POST' | 'PUT'} */ method, /** @type {string} */ route, /** @type {unknown} */ body) {
    return this.call(method, route, body, `demo-${this.#run}-${++this.#keys}`);
  }

  /** @returns {Promise<any>} @throws RefusedError; DemoError when no answer came for a minute */
  async call(method, route, body, idempotencyKey) {
    const deadline = Date.now() + ANSWER_TIMEOUT_MS;
    for (let tries = 0; ; tries += 1) {
      const answer = await this.#try(method, route, body, idempotencyKey);
      if ('value' in answer) return answer.value;
      if (Date.now() > deadline)
        throw new DemoError(
          `${method} ${route} got no answer for ${ANSWER_TIMEOUT_MS / 1000} s: ${answer.why}. The hub said last:\n${this.log.tail()}`,
        );
      if (tries === 0) this.resent += 1;
      await sleep(RETRY_MS);
    }
  }

  async #try(method, route, body, idempotencyKey) {
    try {
      const response = await fetch(this.url + route, {
        method,
        headers: {
          authorization: `Bearer ${this.key}`,
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
      });
      const text = await response.text();
      const value = text === '' ? null : JSON.parse(text);
      if (response.ok) return { value };
      if (response.status < 500) throw new RefusedError(`${method} ${route}`, response.status, value);
      return { why: `${response.status} ${value?.detail ?? text.slice(0, 200)}` };
    } catch (error) {
      if (error instanceof RefusedError) throw error;
      return { why: String(error.cause?.code ?? error.message) };
    }
  }

  #environment() {
    // The demo's hub has nothing to do with a real one that may be configured here.
    const foreign = (name) => name.startsWith('ONHAND_') || ['DATABASE_URL', 'REDIS_URL'].includes(name);
    const inherited = Object.entries(process.env).filter(([name]) => !foreign(name));
    return {
      ...Object.fromEntries(inherited),
      ...(this.redisUrl !== undefined && { REDIS_URL: this.redisUrl }),
      ONHAND_DATA_DIR: this.dataDir,
      ONHAND_PORT: String(this.#port),
      ONHAND_OWNER_KEY: this.key,
      ONHAND_LOG_JSON: 'true',
      // The sample shops are on this machine; a real hub refuses to call private addresses unless it is told to.
      ONHAND_ALLOW_PRIVATE_CART_URLS: 'true',
    };
  }
}
