import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

import { steadyNow } from '../../steady-clock.js';
import { addressIsAllowed, lookupAllowed, parseCartUrl } from './cart-address.js';
import { CartThrottledError, CartUnreachableError, CartUrlRefusedError, OutcomeUnknownError } from './cart-error.js';

/**
 * One HTTP call whose failure tells whether anything can have happened at the other end.
 *
 * `node:http` writes nothing before `end()`, so the call first waits for a connected (and, with TLS, secured) socket,
 * then checks the address it is connected to and the deadline, and only then ends the request. Everything that fails
 * before that line is proof that no byte of the request left; everything after it is not. That includes a reset on a
 * reused connection: the cart may have closed it idle, or may have died after doing the work.
 */
export interface HttpCallRequest {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Nothing is written after this moment (ms of the steady clock), and a call under way is cut off at it. */
  readonly deadlineMs: number;
  /** Longest time from the write to the last byte of the answer, in ms. */
  readonly answerTimeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly onSent?: (() => void) | undefined;
  readonly allowPrivateAddress: boolean;
  /**
   * Reusing a connection saves a round trip, but an idle connection that the cart is just closing makes the outcome
   * unknown. Carts that cannot be resent to safely pay the round trip.
   */
  readonly reuseConnection: boolean;
  readonly answerBytesMax?: number;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

const ANSWER_BYTES_MAX = 32 * 1024 * 1024;
const CONNECT_TIMEOUT_MS = 10_000;
/** Below the idle limits of usual servers (5 s), so that a reused connection is rarely one that is being closed. */
const IDLE_CONNECTION_MS = 4_000;
/** Of one host, at which many carts may be: fewer than are called at one moment would be closed and made anew each time. */
const IDLE_CONNECTIONS_MAX = 32;
/** The longest delay a Node timer takes; later deadlines are beyond any call. */
const TIMER_MS_MAX = 2 ** 31 - 1;

const agentOptions = {
  keepAlive: true,
  maxFreeSockets: IDLE_CONNECTIONS_MAX,
  timeout: IDLE_CONNECTION_MS,
  scheduling: 'lifo',
} as const;
const httpAgent = new http.Agent(agentOptions);
const httpsAgent = new https.Agent(agentOptions);

/**
 * @returns the complete answer, whatever its status except those of throttling
 * @throws CartUrlRefusedError, CartUnreachableError: no byte left. CartThrottledError: 429, or 503 with Retry-After.
 *         OutcomeUnknownError: bytes left and no complete answer came.
 */
export async function httpCall(call: HttpCallRequest): Promise<HttpAnswer> {
  const url = parseCartUrl(call.url, call.allowPrivateAddress);
  if (call.signal?.aborted) throw new CartUnreachableError('stopped before the request was sent');
  if (steadyNow() >= call.deadlineMs)
    throw new CartUnreachableError('the deadline had passed before the request was sent');
  const answer = await new Promise<HttpAnswer>((resolve, reject) => {
    new Exchange(url, call, resolve, reject).start();
  });
  const retryAfter = answer.headers['retry-after'];
  if (answer.status === 429 || (answer.status === 503 && retryAfter !== undefined)) {
    throw new CartThrottledError(
      `the cart asked for patience (HTTP ${answer.status})`,
      parseRetryAfter(retryAfter, Date.now()),
    );
  }
  return answer;
}

/** One request from its connection to its answer. It settles once; what comes later is ignored. */
class Exchange {
  #written = false;
  #settled = false;
  #request: http.ClientRequest | null = null;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #body: Buffer;

  constructor(
    private readonly url: URL,
    private readonly call: HttpCallRequest,
    private readonly resolve: (answer: HttpAnswer) => void,
    private readonly reject: (error: Error) => void,
  ) {
    this.#body = Buffer.from(call.body, 'utf8');
  }

  start(): void {
    const secure = this.url.protocol === 'https:';
    const agent = secure ? httpsAgent : httpAgent;
    try {
      this.#request = (secure ? https : http).request(this.url, {
        method: this.call.method,
        headers: { ...this.call.headers, 'content-length': this.#body.length, 'accept-encoding': 'identity' },
        agent: this.call.reuseConnection ? agent : false,
        lookup: lookupAllowed(this.call.allowPrivateAddress),
      });
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#request.on('socket', (socket) => this.#onSocket(socket, secure));
    this.#request.on('response', (response) => this.#onResponse(response));
    this.#request.on('upgrade', (_response, socket) => {
      socket.destroy();
      this.#fail(new Error('the cart switched to another protocol'));
    });
    this.#request.on('error', (error) => this.#fail(error));
    // A request may close without any error event (a connection closed between our checks).
    this.#request.on('close', () => this.#fail(new Error('the connection was closed')));
    this.call.signal?.addEventListener('abort', this.#onAbort, { once: true });
    this.#failAt(this.call.deadlineMs, 'the deadline passed');
    this.#failAt(steadyNow() + CONNECT_TIMEOUT_MS, 'no connection in time', () => !this.#written);
  }

  #onSocket(socket: Socket, secure: boolean): void {
    socket.setNoDelay(true);
    const waiting =
      socket.connecting || (secure && (socket as TLSSocket & { secureConnecting?: boolean }).secureConnecting === true);
    if (waiting) socket.once(secure ? 'secureConnect' : 'connect', () => this.#write(socket));
    else this.#write(socket);
  }

  /** The one place where bytes leave; every check that can still call it off stands directly before it. */
  #write(socket: Socket): void {
    if (this.#settled || !this.#request) return;
    if (!addressIsAllowed(socket.remoteAddress, this.call.allowPrivateAddress)) {
      this.#fail(
        new CartUrlRefusedError(`${this.url.host} is at a private address, which this cart is not allowed to use`),
      );
      return;
    }
    const nowMs = steadyNow();
    if (nowMs >= this.call.deadlineMs) {
      this.#fail(new Error('the deadline passed'));
      return;
    }
    this.#failAt(nowMs + this.call.answerTimeoutMs, 'no complete answer in time');
    this.#written = true;
    this.#request.end(this.#body, this.call.onSent);
  }

  #onResponse(response: http.IncomingMessage): void {
    const chunks: Buffer[] = [];
    const bytesMax = this.call.answerBytesMax ?? ANSWER_BYTES_MAX;
    let length = 0;
    response.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > bytesMax) this.#fail(new Error(`the answer is larger than ${bytesMax} bytes`));
      else chunks.push(chunk);
    });
    response.on('error', (error) => this.#fail(error));
    response.on('close', () => {
      if (!response.complete) this.#fail(new Error('the answer was cut off'));
    });
    response.on('end', () => {
      if (!response.complete) return;
      this.#settle();
      this.resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
    });
  }

  readonly #onAbort = (): void => this.#fail(new Error('stopped'));

  #failAt(momentMs: number, reason: string, still: () => boolean = () => true): void {
    const delayMs = Math.min(Math.max(momentMs - steadyNow(), 0), TIMER_MS_MAX);
    this.#timers.add(
      setTimeout(() => {
        if (still()) this.#fail(new Error(reason));
      }, delayMs),
    );
  }

  #fail(cause: unknown): void {
    if (this.#settled) return;
    this.#settle();
    this.#request?.destroy();
    this.reject(this.#judge(cause));
  }

  #judge(cause: unknown): Error {
    if (cause instanceof CartUrlRefusedError) return cause;
    const reason = reasonOf(cause);
    return this.#written
      ? new OutcomeUnknownError(`${reason} after the request was sent to ${this.url.host}`, { cause })
      : new CartUnreachableError(`${reason} before anything was sent to ${this.url.host}`, { cause });
  }

  #settle(): void {
    this.#settled = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.call.signal?.removeEventListener('abort', this.#onAbort);
  }
}

/** The socket's words by their code: Node's own messages may repeat addresses and, for invalid headers, values. */
function reasonOf(cause: unknown): string {
  const code = cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : null;
  const known: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'connection refused',
    ECONNRESET: 'connection reset',
    EPIPE: 'connection closed',
    ENOTFOUND: 'unknown host',
    EAI_AGAIN: 'name look-up failed',
    ETIMEDOUT: 'connection timed out',
    EHOSTUNREACH: 'host unreachable',
    ENETUNREACH: 'network unreachable',
  };
  if (code !== null) return `${known[code] ?? 'connection failed'} (${code})`;
  return cause instanceof Error ? cause.message : 'connection failed';
}

/** `Retry-After` in seconds or as an HTTP date, as ms from now; null where there is none that can be read. */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | null {
  if (value === undefined) return null;
  const text = value.trim();
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const momentMs = Date.parse(text);
  return Number.isNaN(momentMs) ? null : Math.max(momentMs - nowMs, 0);
}
