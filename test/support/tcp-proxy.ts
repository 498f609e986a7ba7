import net from 'node:net';

/** A way to a server that a test can cut, stall or slow down, and lead to another server. */
export interface TcpProxy {
  readonly port: number;
  /** Connections from now on go there. */
  lead(port: number): void;
  /** Ends every connection; new ones are let through. */
  cut(): void;
  /** While closed, new connections are ended at once; those that are there live on. */
  close(closed: boolean): void;
  /** What is connected now stays connected, and nothing passes any more, in either direction. New connections pass. */
  stall(): void;
  /** Everything arrives that much later, in both directions, from now on. */
  slow(delayMs: number): void;
  stop(): Promise<void>;
}

export async function startTcpProxy(port: number): Promise<TcpProxy> {
  let target = port;
  let closed = false;
  let delayMs = 0;
  const pairs = new Set<{ readonly sockets: readonly [net.Socket, net.Socket]; stalled: boolean }>();

  const server = net.createServer((near) => {
    if (closed) {
      near.destroy();
      return;
    }
    const far = net.connect({ host: '127.0.0.1', port: target });
    const pair = { sockets: [near, far] as const, stalled: false };
    pairs.add(pair);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.setNoDelay(true);
      // Whichever timer rings, the oldest chunk goes: a way that becomes faster must not let later bytes overtake.
      const late: Buffer[] = [];
      from.on('data', (chunk) => {
        if (pair.stalled) return;
        if (delayMs === 0 && late.length === 0) {
          to.write(chunk);
          return;
        }
        late.push(chunk);
        setTimeout(() => {
          const oldest = late.shift();
          if (oldest !== undefined && !pair.stalled) to.write(oldest);
        }, delayMs);
      });
      from.on('error', () => undefined);
      from.on('close', () => {
        // Nobody tells the other side of a connection that is stalled.
        if (pair.stalled) return;
        pairs.delete(pair);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The proxy has no port');
  const cut = () => {
    for (const pair of pairs) for (const socket of pair.sockets) socket.destroy();
    pairs.clear();
  };
  return {
    port: address.port,
    lead: (next) => (target = next),
    cut,
    close: (next) => (closed = next),
    stall: () => {
      for (const pair of pairs) pair.stalled = true;
    },
    slow: (ms) => (delayMs = ms),
    stop: async () => {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
