import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandLineError, exitCodes } from './exit-codes.js';
import type { HubAddress } from './hub-address.js';
import { problemOf, problemSentence } from './problem-sentence.js';

export interface HubRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  /** Sent with every request that changes something; made here when not given. */
  readonly idempotencyKey?: string | undefined;
  /** False: sent again only when certainly no byte of it arrived (making an API key twice makes two). */
  readonly repeatable?: boolean;
  /** Gives the request up. */
  readonly signal?: AbortSignal | undefined;
}

export interface HubAnswer<Body = unknown> {
  readonly status: number;
  readonly headers: Headers;
  /** Exactly what came. */
  readonly text: string;
  readonly body: Body;
}

/** The hub answered, and it was no. */
export class HubRefusedError extends CommandLineError {
  override readonly name = 'HubRefusedError';
  constructor(
    readonly status: number,
    text: string,
    url: string,
  ) {
    const code = status === 401 || status === 403 ? exitCodes.notAuthorised : exitCodes.refused;
    super(code, problemSentence(status, text, url), problemOf(text) === null ? null : text);
  }
}

const ATTEMPTS_MAX = 5;
const FIRST_PAUSE_MS = 200;
const PAUSE_MS_MAX = 5_000;
/** Allowances are per minute; a hub that names a longer time is not waited for. */
const ASKED_PAUSE_MS_MAX = 61_000;
/** Not ready, too many at once, or a proxy that found no hub behind it: the same request may succeed in a moment. */
const worthRepeating = new Set([429, 502, 503, 504]);

/**
 * Speaks to the hub. A request is repeated a bounded number of times, always with the same idempotency key, so that it
 * counts once however often it arrives.
 */
export class HubClient {
  constructor(
    private readonly options: {
      readonly address: HubAddress;
      readonly key: string;
      readonly timeoutMs: number;
      readonly userAgent: string;
      readonly verbose: (sentence: string) => void;
      readonly firstPauseMs?: number;
    },
  ) {}

  get address(): HubAddress {
    return this.options.address;
  }

  /** @throws CommandLineError */
  get<Body>(
    path: string,
    query: Readonly<Record<string, string | undefined>> = {},
    signal?: AbortSignal,
  ): Promise<HubAnswer<Body>> {
    const given = Object.entries(query).filter((pair): pair is [string, string] => pair[1] !== undefined);
    const search = new URLSearchParams(given).toString();
    return this.send<Body>({ method: 'GET', path: search === '' ? path : `${path}?${search}`, signal });
  }

  /** @throws CommandLineError: HubRefusedError, or not reachable, or no answer in time */
  async send<Body>(request: HubRequest): Promise<HubAnswer<Body>> {
    const changes = request.method !== 'GET';
    const key = changes ? (request.idempotencyKey ?? newIdempotencyKey()) : undefined;
    if (key !== undefined) this.options.verbose(`Idempotency-Key: ${key}`);
    for (let attempt = 1; ; attempt += 1) {
      const last = attempt === ATTEMPTS_MAX;
      const outcome = await this.once(request, key);
      if (outcome instanceof Response) {
        const text = await outcome.text().catch(() => null);
        if (text !== null && (last || !worthRepeating.has(outcome.status))) return this.answer<Body>(outcome, text);
        if (text === null && (last || request.repeatable === false))
          throw this.lost(new Error('the answer broke off'), key);
        await this.pause(attempt, outcome.headers.get('retry-after'), `answered ${outcome.status}`);
      } else {
        const safe = !changes || request.repeatable !== false || nothingSent(outcome);
        if (last || !safe || isTimeout(outcome) || request.signal?.aborted === true) throw this.lost(outcome, key);
        await this.pause(attempt, null, reasonOf(outcome));
      }
    }
  }

  private async once(request: HubRequest, key: string | undefined): Promise<Response | Error> {
    const { address, timeoutMs, userAgent, verbose } = this.options;
    const hasBody = request.body !== undefined;
    verbose(`${request.method} ${address.url}${request.path}`);
    try {
      return await fetch(address.url + request.path, {
        method: request.method,
        // A key must not follow to wherever an address is sent on to.
        redirect: 'manual',
        headers: {
          Authorization: `Bearer ${this.options.key}`,
          Accept: 'application/json',
          'User-Agent': userAgent,
          ...(hasBody && { 'Content-Type': 'application/json' }),
          ...(key !== undefined && { 'Idempotency-Key': key }),
        },
        ...(hasBody && { body: JSON.stringify(request.body) }),
        signal: AbortSignal.any([
          AbortSignal.timeout(timeoutMs),
          ...(request.signal === undefined ? [] : [request.signal]),
        ]),
      });
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  private answer<Body>(response: Response, text: string): HubAnswer<Body> {
    const { url, from } = this.options.address;
    if (response.status >= 300 && response.status < 400) {
      const to = response.headers.get('location') ?? 'elsewhere';
      throw new CommandLineError(
        exitCodes.notReachable,
        `${url} (${from}) sends on to ${to}. If that is the hub, name it with --url.`,
      );
    }
    if (!response.ok) {
      const refused = new HubRefusedError(response.status, text, url);
      if (!worthRepeating.has(response.status)) throw refused;
      throw new CommandLineError(
        exitCodes.notReachable,
        `The hub at ${url} is not ready (${response.status}): ${refused.message}`,
        refused.answer,
      );
    }
    if (text === '') return { status: response.status, headers: response.headers, text: 'null', body: null as Body };
    try {
      return { status: response.status, headers: response.headers, text, body: JSON.parse(text) as Body };
    } catch {
      throw new CommandLineError(
        exitCodes.notReachable,
        `${url} (${from}) answers, but not as a hub does. Check the address.`,
      );
    }
  }

  private lost(error: Error, key: string | undefined): CommandLineError {
    const { url, from } = this.options.address;
    const again =
      key === undefined || nothingSent(error)
        ? ''
        : ` Whether it was recorded is not known; ask again with --idempotency-key ${key} and it counts once.`;
    if (isTimeout(error)) {
      return new CommandLineError(
        exitCodes.late,
        `The hub at ${url} did not answer within ${this.options.timeoutMs / 1000} s (--timeout).${again}`,
      );
    }
    return new CommandLineError(
      exitCodes.notReachable,
      `No hub answers at ${url} (${sayFrom(from)}): ${reasonOf(error)}. Start it, or name another with --url.${again}`,
    );
  }

  private async pause(attempt: number, retryAfter: string | null, why: string): Promise<void> {
    const asked = retryAfter !== null && /^\d{1,4}$/.test(retryAfter) ? Number(retryAfter) * 1_000 : 0;
    const own = (this.options.firstPauseMs ?? FIRST_PAUSE_MS) * 2 ** (attempt - 1) * (0.5 + Math.random());
    const ms = Math.max(Math.min(PAUSE_MS_MAX, own), Math.min(ASKED_PAUSE_MS_MAX, asked));
    this.options.verbose(`The hub ${why}; asking again in ${Math.round(ms)} ms`);
    await sleep(ms);
  }
}

export const newIdempotencyKey = () => `cli-${randomUUID()}`;

function sayFrom(from: string): string {
  if (from === 'default') return 'the usual address; neither --url nor ONHAND_URL nor a hub.json says another';
  return from.endsWith('hub.json') ? `from ${from}, which a hub that was killed leaves behind` : `from ${from}`;
}

const isTimeout = (error: Error) => error.name === 'TimeoutError';

/** Undici wraps what happened; its codes tell whether a connection was ever made. */
function nothingSent(error: Error): boolean {
  const code = codeOf(error);
  return ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT', 'EHOSTUNREACH', 'ENETUNREACH'].includes(
    code,
  );
}

function codeOf(error: Error): string {
  const { cause } = error;
  if (cause instanceof AggregateError) return codeOf(new Error('', { cause: cause.errors[0] }));
  return cause instanceof Error && 'code' in cause ? String(cause.code) : '';
}

const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the connection is refused',
  ENOTFOUND: 'the name is not known',
  EAI_AGAIN: 'the name cannot be looked up now',
  ECONNRESET: 'the connection was cut',
  UND_ERR_SOCKET: 'the connection was cut',
  UND_ERR_CONNECT_TIMEOUT: 'no connection within 10 s',
};

function reasonOf(error: Error): string {
  const code = codeOf(error);
  const { cause } = error;
  return reasons[code] ?? (cause instanceof Error && cause.message !== '' ? cause.message : error.message);
}
