import http from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterEach, describe, expect, it } from 'vitest';

import { steadyNow } from '../../steady-clock.js';
import { CartRejectedError, OutcomeUnknownError } from './cart-error.js';
import type { CartConnection, QuantityRow } from './connector.js';
import { setiConnector } from './seti.connector.js';

/** Scripts that page in ways of their own, as real ones do. Each is a real HTTP server with the one behaviour a test is about. */
const servers: http.Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

type Script = (form: URLSearchParams) => string | Buffer | Promise<string>;

async function script(answer: Script, status = 200): Promise<{ cart: CartConnection; calls: URLSearchParams[] }> {
  const calls: URLSearchParams[] = [];
  const server = http.createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const form = new URLSearchParams(Buffer.concat(chunks).toString());
    calls.push(form);
    response.writeHead(status, { location: 'https://elsewhere.example/' }).end(await answer(form));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const cart = {
    cartId: 'c',
    url,
    username: 'u',
    secret: 'p4ss',
    storeCode: '',
    requestTimeoutMs: 5_000,
    allowPrivateAddress: true,
  };
  return { cart, calls };
}

const soon = (): { deadlineMs: number } => ({ deadlineMs: steadyNow() + 5_000 });
const document = (root: string, rows: readonly string[]): string =>
  `<${root}><Response><ResponseCode>${rows.length > 0 ? 1 : 2}</ResponseCode></Response>${rows.join('')}</${root}>`;
const item = (key: string, quantity = 1): string => `<Product><Code>${key}</Code><QOH>${quantity}</QOH></Product>`;
const order = (number: number | string): string =>
  `<Order><OrderNumber>${number}</OrderNumber><Shipping><Product><SKU>MUG</SKU><Quantity>1</Quantity></Product></Shipping></Order>`;
const page = <Row>(rows: readonly Row[], form: URLSearchParams, sizeMax = Number(form.get('batchsize'))): Row[] => {
  const start = Number(form.get('startnum')) - 1;
  return rows.slice(start, start + Math.min(sizeMax, Number(form.get('batchsize'))));
};

async function read(cart: CartConnection, keys: readonly string[] | null = null): Promise<Map<string, number | null>> {
  const rows: QuantityRow[] = [];
  for await (const some of setiConnector.readQuantities(cart, keys, soon)) rows.push(...some);
  return new Map(rows.map(({ key, quantity }) => [key, quantity]));
}

const numbers = async (cart: CartConnection, since: string | null): Promise<[string[], string]> => {
  const { orders, mark } = await setiConnector.readOrders(cart, since, soon());
  return [orders.map(({ number }) => number), mark];
};

describe('reading quantities from a script', () => {
  const items = Array.from({ length: 600 }, (_, index) => item(`SKU-${index}`, index));

  it('that caps its pages below what was asked misses no item', async () => {
    const { cart, calls } = await script((form) => document('SETIProducts', page(items, form, 70)));
    expect((await read(cart)).size).toBe(600);
    expect(calls.length).toBe(10);
  });

  it('that ignores paging ends after the page that brings nothing new', async () => {
    const { cart, calls } = await script(() => document('SETIProducts', items));
    expect((await read(cart)).size).toBe(600);
    expect(calls.length).toBe(2);
  });

  it('whose pages overlap counts the later row', async () => {
    const pages = [[item('A', 1), item('B', 1)], [item('B', 2), item('C', 1)], [item('C', 1)]];
    const { cart } = await script(() => document('SETIProducts', pages.shift() ?? []));
    expect(await read(cart)).toEqual(
      new Map([
        ['A', 1],
        ['B', 2],
        ['C', 1],
      ]),
    );
  });

  it('stops as soon as the wanted items have come', async () => {
    const { cart, calls } = await script((form) => document('SETIProducts', page(items, form)));
    expect(await read(cart, ['SKU-3'])).toEqual(new Map([['SKU-3', 3]]));
    expect(calls.length).toBe(1);
  });

  it('of an old shop understands its encoding', async () => {
    const text = `<?xml version="1.0" encoding="ISO-8859-1"?>${document('SETIProducts', [item('CAFÉ')])}`;
    const { cart } = await script(() => Buffer.from(text, 'latin1'));
    expect((await read(cart)).has('CAFÉ')).toBe(true);
  });
});

describe('reading orders from a script', () => {
  const newer = Array.from({ length: 250 }, (_, index) => 2_001 + index);
  const after = (form: URLSearchParams): number => Number(form.get('lastorder')) || 0;

  it('that tells the newest first loses none, as the mark passes only what was told', async () => {
    const descending = newer.toReversed();
    const { cart } = await script((form) =>
      document(
        'SETIOrders',
        page(
          descending.filter((number) => number > after(form)),
          form,
        ).map(order),
      ),
    );
    expect(await numbers(cart, '2000')).toEqual([newer.map(String), '2250']);
    expect(await numbers(cart, '2250')).toEqual([[], '2250']);
  });

  // Broken once: all pages together had the time of one call, so a large shop's orders could never be read.
  it('that tells the newest first may take its time for each page', async () => {
    const descending = newer.toReversed();
    const { cart } = await script(async (form) => {
      await new Promise((resolve) => setTimeout(resolve, 150));
      return document('SETIOrders', page(descending, form, 30).map(order));
    });
    const hasty = { ...cart, requestTimeoutMs: 600 };
    const { orders } = await setiConnector.readOrders(hasty, null, { deadlineMs: steadyNow() + 600 });
    expect(orders).toHaveLength(250);
  });

  it('that ignores the mark looks past the orders told before', async () => {
    const { cart } = await script((form) => document('SETIOrders', page(newer, form).map(order)));
    expect(await numbers(cart, '2205')).toEqual([newer.slice(205).map(String), '2250']);
    expect(await numbers(cart, '2250')).toEqual([[], '2250']);
  });

  it('that ignores mark and paging ends all the same', async () => {
    const { cart, calls } = await script(() => document('SETIOrders', newer.map(order)));
    expect(await numbers(cart, '2250')).toEqual([[], '2250']);
    expect(calls.length).toBe(2);
  });

  it('that leaves out every order of a page goes on to the next', async () => {
    const empty = '<SETIOrders><Response><ResponseCode>1</ResponseCode></Response></SETIOrders>';
    const { cart } = await script((form) =>
      form.get('startnum') === '1' ? empty : document('SETIOrders', page(newer, form).map(order)),
    );
    expect((await numbers(cart, '2000'))[0][0]).toBe('2101');
  });

  it('keeps the order of numbers that are no numbers', async () => {
    const { cart } = await script(() => document('SETIOrders', ['W-9', 'W-10', 'V-11'].map(order)));
    expect(await numbers(cart, null)).toEqual([['W-9', 'W-10', 'V-11'], 'V-11']);
  });
});

describe('a script that refuses', () => {
  const delta = (cart: CartConnection): Promise<unknown> =>
    setiConnector.sendDeltas(cart, { idempotencyKey: 'k', createdAtMs: 0, lines: [{ key: 'A', delta: 1 }] }, soon());

  it('leaves a change in doubt for any error but a denied login, and its words show no password', async () => {
    const denied = await script(() => 'SETIError: Access denied for u/p4ss');
    await expect(delta(denied.cart)).rejects.toThrow(
      new CartRejectedError('SETIError: Access denied for u/•••', { scope: 'cart' }),
    );
    const broken = await script(() => 'SETIError: deadlock with password=p4ss');
    await expect(delta(broken.cart)).rejects.toThrow(
      new OutcomeUnknownError('SETIError: deadlock with password=•••', { answered: true }),
    );
  });

  it('by a redirect is told so, and the redirect is not followed', async () => {
    const moved = await script(() => '', 301);
    await expect(delta(moved.cart)).rejects.toThrow(/HTTP 301 \(redirects are not followed/);
    await expect(read(moved.cart)).rejects.toBeInstanceOf(CartRejectedError);
  });
});
