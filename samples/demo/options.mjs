// The demo's command line.
import { parseArgs } from 'node:util';

export const EXIT = { agree: 0, differ: 1, usage: 2, fault: 3, timeout: 4, interrupted: 130 };

const KILL_AT_DEFAULT = 260;
const KILL_AT_MAX = 400;
const TIMEOUT_DEFAULT_S = 180;

export const help = `Onhand demo: a trading day in fast motion, against a real hub and two sample shops.

  npm run demo                     play the day, then stay up so that you can buy yourself
  npm run demo -- --once           play the day and end
  npm run demo -- --once --json    the same, with one JSON object on stdout and nothing else

  --once         end after the day; the exit code says whether everything agrees
  --json         print one JSON object on stdout; what happens is told on stderr
  --redis        run the lanes on Redis: REDIS_URL, else a redis-server or valkey-server on PATH, else, on Debian or
                 Ubuntu as root, one installed with apt-get
  --naive        show the same day beside it with absolute pushes and blind retries, as most connectors do
  --kill-at N    kill the hub (SIGKILL) while the N-th delivery of the day is under way, 1 to ${KILL_AT_MAX} (default ${KILL_AT_DEFAULT}).
                 N modulo 3 decides when: 0 before the shop applies it, 1 after that, 2 right after it has
                 answered. Where N is a multiple of 6, the call is lost on its way as well
  --shops LIST   a simulated busy hour instead, at shops of these kinds, such as oscommerce,x-cart,seti (also: webhook);
                 it ends by itself. PHP and MariaDB for the first two are found on PATH or, on Debian or Ubuntu as root,
                 installed with apt-get
  --seed N       another day with other sales (default 1)
  --timeout S    with --once: give up after S seconds (default ${TIMEOUT_DEFAULT_S})
  --help         print this

Exit codes: ${EXIT.agree} everything agrees and the one unknown SKU is the only dead letter · ${EXIT.differ} something differs ·
${EXIT.usage} wrong usage · ${EXIT.fault} could not start or broke off · ${EXIT.timeout} timed out · ${EXIT.interrupted} interrupted.
Everything listens on 127.0.0.1 on free ports; NO_COLOR is respected.
`;

/**
 * @typedef {{help: boolean, once: boolean, json: boolean, redis: boolean, naive: boolean, shops: string[], killAt: number, seed: number,
 *   timeoutMs: number}} Options
 */

/** @returns {Options | {problem: string}} */
export function parseOptions(/** @type {string[]} */ args) {
  const flag = /** @type {const} */ ({ type: 'boolean', default: false });
  const number = (/** @type {number} */ value) => /** @type {const} */ ({ type: 'string', default: String(value) });
  try {
    const { values } = parseArgs({
      args,
      options: {
        help: { ...flag, short: 'h' },
        once: flag,
        json: flag,
        redis: flag,
        naive: flag,
        shops: { type: 'string', default: '' },
        'kill-at': number(KILL_AT_DEFAULT),
        seed: number(1),
        timeout: number(TIMEOUT_DEFAULT_S),
      },
    });
    const { help, once, json, redis, naive } = values;
    return {
      help,
      once,
      json,
      redis,
      naive,
      shops: kindsOf(values.shops),
      killAt: wholeNumber('--kill-at', values['kill-at'], 1, KILL_AT_MAX),
      seed: wholeNumber('--seed', values.seed, 0, 2 ** 31),
      timeoutMs: wholeNumber('--timeout', values.timeout, 30, 3600) * 1000,
    };
  } catch (error) {
    return { problem: `${error.message.split('\n')[0]} See: npm run demo -- --help` };
  }
}

const KINDS = ['oscommerce', 'x-cart', 'seti', 'webhook'];

function kindsOf(/** @type {string} */ list) {
  const kinds = list.split(',').filter((kind) => kind !== '');
  const unknown = kinds.find((kind) => !KINDS.includes(kind));
  if (unknown !== undefined) throw new Error(`--shops knows ${KINDS.join(', ')}, not "${unknown}".`);
  if (new Set(kinds).size < kinds.length) throw new Error('--shops must name each kind once.');
  return kinds;
}

function wholeNumber(/** @type {string} */ name, /** @type {string} */ text, min, max) {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new Error(`${name} must be a whole number from ${min} to ${max}, not "${text}".`);
}
