import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SAMPLE_SECRET, type Shop } from '../support/shops.js';

export interface AdjustCall {
  readonly id: string;
  readonly body: string;
  readonly lines: readonly { readonly key: string; readonly delta: number }[];
}

/** Status and body of an answer; null cuts the connection. */
export type Answer = { readonly status: number; readonly body: unknown } | null;

/** A receiver of signed webhooks whose every answer a test decides: for what the sample shop never says. */
export interface ProgrammedCart {
  /** Enough of a shop to be connected. */
  readonly shop: Pick<Shop, 'kind' | 'url' | 'secret' | 'user' | 'storeCode' | 'stock'>;
  readonly calls: AdjustCall[];
  readonly quantities: Map<string, number>;
  /** How the next calls are answered; the default applies everything. */
  answer: (call: AdjustCall) => Answer | Promise<Answer>;
  /** Applies each line and says so. */
  readonly apply: (call: AdjustCall) => Answer;
  /** Its answers to the next questions for orders, each given once; then it has none. */
  readonly orderPages: { readonly orders: readonly unknown[]; readonly mark: string }[];
  stop(): Promise<void>;
}

export async function startProgrammedCart(quantities: ReadonlyMap<string, number>): Promise<ProgrammedCart> {
  const stock = new Map(quantities);
  const server = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const body = Buffer.concat(chunks).toString('utf8');
      const { type, data } = JSON.parse(body) as {
        type: string;
        data: { keys?: string[] | null; lines?: AdjustCall['lines'] };
      };
      let answer: Answer;
      if (type === 'stock.adjust') {
        const call = { id: String(request.headers['webhook-id']), body, lines: data.lines ?? [] };
        cart.calls.push(call);
        answer = await cart.answer(call);
      } else if (type === 'stock.read') {
        const keys = data.keys ?? [...stock.keys()];
        const rows = keys.filter((key) => stock.has(key)).map((key) => ({ key, quantity: stock.get(key) }));
        answer = { status: 200, body: { rows, nextCursor: null } };
      } else answer = { status: 200, body: cart.orderPages.shift() ?? { orders: [], mark: '0' } };
      if (answer === null) response.destroy();
      else response.writeHead(answer.status, { 'content-type': 'application/json' }).end(JSON.stringify(answer.body));
    })();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const apply = ({ lines }: AdjustCall): Answer => ({
    status: 200,
    body: {
      lines: lines.map(({ key, delta }) => {
        stock.set(key, (stock.get(key) ?? 0) + delta);
        return { key, status: 'applied', quantity: stock.get(key) };
      }),
    },
  });
  const cart: ProgrammedCart = {
    shop: {
      kind: 'webhook',
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/onhand`,
      secret: SAMPLE_SECRET,
      user: '',
      storeCode: '',
      stock: () => Promise.resolve(stock),
    },
    calls: [],
    quantities: stock,
    answer: apply,
    apply,
    orderPages: [],
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return cart;
}
