import net from 'node:net';

import { afterEach, describe, expect, it, vi } from 'vitest';

import { steadyNow } from '../../steady-clock.js';
import { addressIsAllowed, parseCartUrl } from './cart-address.js';
import { CartThrottledError, CartUnreachableError, CartUrlRefusedError, OutcomeUnknownError } from './cart-error.js';
import { httpCall, parseRetryAfter, type HttpCallRequest } from './http-call.js';

/** A server that shows every byte it got and answers exactly what a test says. */
interface RawServer {
  readonly url: string;
  readonly received: () => string;
  readonly connections: () => number;
}

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function rawServer(onRequest: (socket: net.Socket, request: number) => void): Promise<RawServer> {
  let received = '';
  let requests = 0;
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      received += bytes.toString('latin1');
      if (!bytes.toString('latin1').endsWith('the body')) return;
      requests += 1;
      onRequest(socket, requests);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as net.AddressInfo).port}/script`,
    received: () => received,
    connections: () => sockets.size,
  };
}

const call = (url: string, more: Partial<HttpCallRequest> = {}): HttpCallRequest => ({
  method: 'POST',
  url,
  headers: { 'x-secret': 'do-not-tell' },
  body: 'the body',
  deadlineMs: steadyNow() + 10_000,
  answerTimeoutMs: 10_000,
  allowPrivateAddress: true,
  reuseConnection: true,
  ...more,
});

async function failure(request: HttpCallRequest): Promise<unknown> {
  try {
    await httpCall(request);
  } catch (error) {
    return error;
  }
  throw new Error('the call succeeded');
}

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

describe('one HTTP call', () => {
  it('returns a complete answer and reuses its connection', async () => {
    const server = await rawServer((socket) => socket.write(OK));
    expect((await httpCall(call(server.url))).body.toString()).toBe('ok');
    expect((await httpCall(call(server.url))).body.toString()).toBe('ok');
    expect(server.connections()).toBe(1);
  });

  it('makes a connection of its own where a reset would cost too much', async () => {
    const server = await rawServer((socket) => socket.write(OK));
    for (let number = 0; number < 2; number += 1) await httpCall(call(server.url, { reuseConnection: false }));
    expect(server.connections()).toBe(2);
  });

  it('counts a reused connection that dies under the request as ambiguous', async () => {
    const server = await rawServer(
      (socket, request) => void (request === 1 ? socket.write(OK) : socket.resetAndDestroy()),
    );
    await httpCall(call(server.url));
    expect(await failure(call(server.url))).toBeInstanceOf(OutcomeUnknownError);
    expect(server.connections()).toBe(1);
  });

  it.each([
    ['is cut in its body', 'HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nok'],
    ['is cut in its head', 'HTTP/1.1 200 OK\r\ncontent-le'],
    ['is cut between chunks', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n'],
    ['is no HTTP', 'SETIResponse=OK\r\n'],
    ['is not there', ''],
  ])('is ambiguous when the answer %s', async (_what, answer) => {
    const server = await rawServer((socket) => socket.end(answer));
    const error = await failure(call(server.url));
    expect(error).toBeInstanceOf(OutcomeUnknownError);
    expect(String(error)).not.toContain('do-not-tell');
  });

  it('is ambiguous when the answer is larger than allowed', async () => {
    const server = await rawServer((socket) =>
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n${'x'.repeat(2_000)}`),
    );
    expect(await failure(call(server.url, { answerBytesMax: 1_000 }))).toMatchObject({
      response: expect.stringMatching(/larger than 1000 bytes/) as string,
    });
  });

  it('waits for an answer that takes longer than an idle connection lives', async () => {
    const server = await rawServer((socket) => void setTimeout(() => socket.write(OK), 4_600));
    expect((await httpCall(call(server.url))).status).toBe(200);
  });

  it('sends no byte when the deadline passes while it connects', async () => {
    const server = await rawServer((socket) => socket.write(OK));
    const request = call(server.url, { deadlineMs: steadyNow() + 30 });
    const failed = failure(request);
    // Keeps the process busy past the deadline, as a long garbage collection would, so the connection comes too late.
    while (steadyNow() <= request.deadlineMs);
    expect(await failed).toBeInstanceOf(CartUnreachableError);
    expect(server.received()).toBe('');
  });

  it('looks at the clock once more when it is connected, whether or not a timer has told it', async () => {
    const server = await rawServer((socket) => socket.write(OK));
    const request = call(server.url);
    const clock = vi.spyOn(Date, 'now');
    try {
      const failed = failure(request);
      clock.mockReturnValue(request.deadlineMs);
      expect(await failed).toBeInstanceOf(CartUnreachableError);
    } finally {
      clock.mockRestore();
    }
    expect(server.received()).toBe('');
  });

  // A clock that was set back moved the deadline away with it: bytes could leave after the others had given the call up.
  it('keeps its deadline when the system clock is set back while it connects', async () => {
    const server = await rawServer((socket) => socket.write(OK));
    const real = Date.now.bind(Date);
    const request = call(server.url, { deadlineMs: steadyNow() + 30 });
    const clock = vi.spyOn(Date, 'now');
    try {
      const failed = failure(request);
      clock.mockImplementation(() => real() - 3_600_000);
      while (steadyNow() <= request.deadlineMs);
      expect(await failed).toBeInstanceOf(CartUnreachableError);
    } finally {
      clock.mockRestore();
    }
    expect(server.received()).toBe('');
  });

  it('sends no byte when a secure connection cannot be made', async () => {
    const server = await rawServer(() => undefined);
    const secure = server.url.replace('http:', 'https:');
    const error = await failure(call(secure, { deadlineMs: steadyNow() + 500 }));
    expect(error).toBeInstanceOf(CartUnreachableError);
    expect(server.received()).not.toContain('script');
  });

  it('hands a redirect back instead of following it', async () => {
    const server = await rawServer((socket) =>
      socket.write('HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n'),
    );
    expect((await httpCall(call(server.url))).status).toBe(302);
  });

  it.each([
    ['429 Too Many Requests', 'retry-after: 3\r\n', 3_000],
    ['429 Too Many Requests', '', null],
    ['503 Service Unavailable', 'retry-after: 1\r\n', 1_000],
  ])('is throttled by %s with "%s"', async (status, header, retryAfterMs) => {
    const server = await rawServer((socket) =>
      socket.write(`HTTP/1.1 ${status}\r\n${header}content-length: 0\r\n\r\n`),
    );
    const error = await failure(call(server.url));
    expect(error).toBeInstanceOf(CartThrottledError);
    expect(error).toMatchObject({ retryAfterMs });
  });

  it('does not write an invalid header, and does not tell it', async () => {
    const server = await rawServer((socket) => socket.write(OK));
    const error = await failure(call(server.url, { headers: { 'x-secret': 'do-not-tell\n' } }));
    expect(error).toBeInstanceOf(CartUnreachableError);
    expect((error as CartUnreachableError).response).not.toContain('do-not-tell');
    expect(server.received()).toBe('');
  });
});

describe('the address of a cart', () => {
  it('may not be private in any spelling', () => {
    const hosts = [
      '127.0.0.1',
      '127.1',
      '2130706433',
      '0x7f.1',
      '10.0.0.1',
      '169.254.169.254',
      '100.64.0.1',
      '0.0.0.0',
      '[::1]',
      '[::ffff:127.0.0.1]',
      '[fe80::1]',
      '[fd00::1]',
      '[64:ff9b::7f00:1]',
    ];
    for (const host of hosts) expect(() => parseCartUrl(`http://${host}/`, false)).toThrow(CartUrlRefusedError);
    expect(parseCartUrl('https://93.184.216.34/', false).hostname).toBe('93.184.216.34');
    expect(parseCartUrl('http://127.0.0.1/', true).hostname).toBe('127.0.0.1');
  });

  it('is not private where the connected socket shows a public one, and unknown ones never pass', () => {
    expect(addressIsAllowed('2606:2800:220:1::1', false)).toBe(true);
    expect(addressIsAllowed('::ffff:10.0.0.1', false)).toBe(false);
    expect(addressIsAllowed(undefined, true)).toBe(false);
  });

  it('is http or https, without a password inside', () => {
    for (const url of ['ftp://shop.example/', 'file:///etc/passwd', 'https://user:pass@shop.example/', 'shop']) {
      expect(() => parseCartUrl(url, true)).toThrow(CartUrlRefusedError);
    }
  });

  it('refuses a pooled connection to a private address for a cart that may not use one', async () => {
    const server = await rawServer((socket) => socket.write(OK));
    const url = server.url.replace('127.0.0.1', 'localhost');
    await httpCall(call(url));
    expect(await failure(call(url, { allowPrivateAddress: false }))).toBeInstanceOf(CartUrlRefusedError);
    expect(server.received().match(/the body/g)).toHaveLength(1);
  });
});

describe('Retry-After', () => {
  it('is read as seconds or as a date', () => {
    const nowMs = Date.UTC(2026, 0, 1, 0, 0, 0);
    expect(parseRetryAfter('120', nowMs)).toBe(120_000);
    expect(parseRetryAfter('Thu, 01 Jan 2026 00:00:30 GMT', nowMs)).toBe(30_000);
    expect(parseRetryAfter('Wed, 31 Dec 2025 00:00:00 GMT', nowMs)).toBe(0);
    expect(parseRetryAfter('soon', nowMs)).toBeNull();
    expect(parseRetryAfter(undefined, nowMs)).toBeNull();
  });
});
