import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** What happens to one request, or to its answer, on the way. */
export type Trick =
  /** The connection breaks with the whole request in it, and nobody has read it. */
  | { readonly do: 'cut before the request was read' }
  | { readonly do: 'cut within the request' }
  /** The request is carried out; its answer is lost. */
  | { readonly do: 'cut before the answer' | 'cut within the answer' }
  /** Nothing arrives, and nobody says so. */
  | { readonly do: 'swallow the request' | 'swallow the answer' }
  | { readonly do: 'answer garbage' | 'answer twice' }
  /** One byte every so often. */
  | { readonly do: 'drip the answer'; readonly everyMs: number }
  /** The request arrives late: perhaps behind others that left after it, perhaps when nobody waits for it any more. */
  | { readonly do: 'hold the request'; readonly ms: number }
  | { readonly do: 'hold the answer'; readonly ms: number };

/** A way to a shop on which everything that a network does can be done to one chosen request. HTTP/1.1, without pipelining. */
export interface TcpProxy {
  /** Where to find the shop through it. */
  readonly port: number;
  /** Plays a trick on the next request that contains these words. */
  play(words: string, trick: Trick): void;
  /** The tricks that no request has met yet. */
  readonly waiting: () => number;
  /** Most requests with these words that were under way at once. */
  countParallel(words: string): () => number;
  close(): Promise<void>;
}

export async function startTcpProxy(shopPort: number): Promise<TcpProxy> {
  const tricks: { words: string; trick: Trick }[] = [];
  const counts: { words: string; now: number; most: number }[] = [];
  const sockets = new Set<Socket>();
  const timers = new Set<NodeJS.Timeout>();
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    return socket;
  };
  const later = (ms: number, work: () => void) => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      work();
    }, ms);
    timers.add(timer);
  };
  const take = (request: Buffer): Trick | null => {
    const at = tricks.findIndex(({ words }) => request.includes(words));
    return at < 0 ? null : (tricks.splice(at, 1)[0]?.trick ?? null);
  };

  const server = createServer((hub) => {
    keep(hub);
    const shop = keep(connect(shopPort, '127.0.0.1'));
    let trick: Trick | null = null;
    let counting: typeof counts = [];
    const both = () => {
      hub.destroy();
      shop.destroy();
    };
    onMessages(hub, (request) => {
      trick = take(request);
      counting = counts.filter(({ words }) => request.includes(words));
      for (const count of counting) count.most = Math.max(count.most, (count.now += 1));
      sendRequest(request, trick, { hub, shop, both, later });
    });
    onMessages(shop, (answer) => {
      for (const count of counting) count.now -= 1;
      counting = [];
      sendAnswer(answer, trick, { hub, both, later });
    });
    hub.once('close', () => {
      // What the shop has in hand it carries out, whether anybody still waits for it or not.
      if (trick === null) shop.end();
    });
    shop.once('close', () => {
      for (const count of counting) count.now -= 1;
      if (trick?.do !== 'swallow the answer') hub.end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    play: (words, trick) => void tricks.push({ words, trick }),
    waiting: () => tricks.length,
    countParallel: (words) => {
      const count = { words, now: 0, most: 0 };
      counts.push(count);
      return () => count.most;
    },
    close: async () => {
      for (const timer of timers) clearTimeout(timer);
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

interface Way {
  readonly hub: Socket;
  readonly both: () => void;
  readonly later: (ms: number, work: () => void) => void;
}

function sendRequest(
  request: Buffer,
  trick: Trick | null,
  { shop, both, later }: Way & { readonly shop: Socket },
): void {
  switch (trick?.do) {
    case 'cut before the request was read':
      return both();
    case 'cut within the request':
      shop.write(request.subarray(0, request.length - 2), both);
      return;
    case 'swallow the request':
      return;
    case 'hold the request':
      later(trick.ms, () => shop.write(request));
      return;
    default:
      shop.write(request);
  }
}

function sendAnswer(answer: Buffer, trick: Trick | null, { hub, both, later }: Way): void {
  switch (trick?.do) {
    case 'cut before the answer':
      return both();
    case 'cut within the answer':
      hub.write(answer.subarray(0, answer.length - 2), both);
      return;
    case 'swallow the answer':
      return;
    case 'answer garbage':
      hub.end(Buffer.from('\u0000\u0016\u0003OK; 15 pieces\r\n\r\n', 'latin1'));
      return;
    case 'answer twice':
      hub.write(Buffer.concat([answer, answer]));
      return;
    case 'drip the answer':
      for (const [index, byte] of answer.entries()) later(index * trick.everyMs, () => hub.write(Buffer.of(byte)));
      return;
    case 'hold the answer':
      later(trick.ms, () => hub.write(answer));
      return;
    default:
      hub.write(answer);
  }
}

const headEnd = Buffer.from('\r\n\r\n');

/** Whole HTTP messages; both sides say how long their bodies are. */
function onMessages(socket: Socket, hear: (message: Buffer) => void): void {
  let bytes: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    for (;;) {
      const head = bytes.indexOf(headEnd);
      if (head < 0) return;
      const told = /^content-length:\s*(\d+)/im.exec(bytes.subarray(0, head).toString('latin1'));
      const end = head + headEnd.length + Number(told?.[1] ?? 0);
      if (bytes.length < end) return;
      const message = bytes.subarray(0, end);
      bytes = bytes.subarray(end);
      hear(message);
    }
  });
}
