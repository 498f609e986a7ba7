import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** The way to a server, which a test can cut. */
export interface CutLine {
  /** The server's URL, by this way. */
  readonly url: string;
  /** Ends every connection now, in the middle of whatever it carries. New ones are let through. */
  cut(): void;
  /** Nobody comes through until `back`. */
  away(): void;
  back(): void;
  /**
   * Of the next request with these bytes the server hears everything, and the caller hears nothing: its connection ends when
   * the server's answer to it has come as far as these bytes. Resolves then.
   */
  loseAnswer(request: string, answer: string): Promise<void>;
  close(): Promise<void>;
}

export async function cutLineTo(serverUrl: string): Promise<CutLine> {
  const target = new URL(serverUrl);
  const open = new Set<Socket>();
  let isAway = false;
  let losing: { readonly request: string; readonly answer: string; readonly lost: () => void } | null = null;

  const server = createServer((caller) => {
    open.add(caller);
    caller.on('error', () => undefined).on('close', () => open.delete(caller));
    if (isAway) return void caller.destroy();
    const onward = connect(Number(target.port), target.hostname);
    const both = () => {
      caller.destroy();
      onward.destroy();
    };
    onward.on('error', both).on('close', both);
    caller.on('close', both);
    let lost: typeof losing = null;
    caller.on('data', (bytes) => {
      if (losing !== null && bytes.includes(losing.request)) [lost, losing] = [losing, null];
      onward.write(bytes);
    });
    let answered = '';
    onward.on('data', (bytes) => {
      if (lost === null) return void caller.write(bytes);
      answered += bytes.toString('latin1');
      if (!answered.includes(lost.answer)) return;
      both();
      lost.lost();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');

  const url = new URL(serverUrl);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  const cut = () => {
    for (const socket of open) socket.destroy();
  };
  return {
    url: url.href,
    cut,
    away: () => {
      isAway = true;
      cut();
    },
    back: () => {
      isAway = false;
    },
    loseAnswer: (request, answer) =>
      new Promise((lost) => {
        losing = { request, answer, lost };
      }),
    close: async () => {
      server.close();
      cut();
      await once(server, 'close');
    },
  };
}
