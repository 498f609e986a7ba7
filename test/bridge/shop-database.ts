import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import path from 'node:path';
import readline from 'node:readline';

import { clientArguments, runSql, withPassword } from '../../samples/shop-servers.mjs';
import { webhookHeaders } from '../../src/cart-workers/connectors/webhook-protocol.js';
import { testMariadb } from '../support/mariadb.js';
import type { Shop } from '../support/shops.js';

/** The shop's own database, looked into and changed as its owner could, past everything that is tested. */
export async function sql(shop: Shop, statements: string): Promise<string[][]> {
  const text: string = runSql(await testMariadb(), statements, databaseOf(shop));
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('\t'));
}

export const databaseOf = (shop: Shop): string =>
  `shop_${createHash('sha256').update(path.resolve(shop.dir)).digest('hex').slice(0, 12)}`;

/** A session of its own, so that a lock can be held while something else runs into it. */
export class Session {
  private constructor(
    private readonly client: ChildProcessWithoutNullStreams,
    private readonly lines: AsyncIterator<string>,
  ) {}

  static async open(shop: Shop): Promise<Session> {
    const access = await testMariadb();
    const client = spawn(access.client, [...clientArguments(access), '--unbuffered', databaseOf(shop)], {
      env: withPassword(access),
    });
    client.stderr.resume();
    return new Session(client, readline.createInterface({ input: client.stdout })[Symbol.asyncIterator]());
  }

  /** Runs statements to their end. */
  async run(statements: string): Promise<void> {
    const mark = randomUUID();
    this.client.stdin.write(`${statements}; SELECT '${mark}';\n`);
    for (;;) {
      const next = await this.lines.next();
      if (next.done === true) throw new Error('the session ended');
      if (next.value === mark) return;
    }
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.client.once('close', resolve));
    this.client.stdin.end();
    await ended;
  }
}

export interface Answered {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
}

/** One signed call, with whatever is wrong about it on purpose. */
export async function callBridge(
  shop: Shop,
  type: string,
  data: unknown,
  odd: { readonly id?: string; readonly nowMs?: number; readonly body?: string; readonly headers?: object } = {},
): Promise<Answered> {
  const body = JSON.stringify({ type, timestamp: '2026-01-02T00:00:00Z', data });
  const headers = webhookHeaders(odd.id ?? `id_${randomUUID()}`, odd.nowMs ?? Date.now(), body, shop.secret);
  const response = await fetch(shop.url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers, ...odd.headers },
    body: odd.body ?? body,
  });
  return { status: response.status, text: await response.text(), headers: response.headers };
}

export async function askBridge<Answer>(shop: Shop, type: string, data: unknown, id?: string): Promise<Answer> {
  const { status, text } = await callBridge(shop, type, data, id === undefined ? {} : { id });
  if (status !== 200) throw new Error(`${type} answered ${status}: ${text}`);
  return JSON.parse(text) as Answer;
}
