/**
 * The one suite that every connector passes, against a real HTTP shop in its own process. What a connector says of a
 * call is compared with the shop's own journal: "nothing was applied" and "it may have been" are claims about that.
 */
import { randomUUID } from 'node:crypto';

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import {
  CartError,
  CartRejectedError,
  CartThrottledError,
  CartUnreachableError,
  CartUrlRefusedError,
  OutcomeUnknownError,
} from '../../src/cart-workers/connectors/cart-error.js';
import type {
  CallContext,
  CartConnection,
  CartOrder,
  Connector,
  DeltaLine,
  LineAnswer,
  QuantityRow,
} from '../../src/cart-workers/connectors/connector.js';
import { steadyNow } from '../../src/steady-clock.js';
import { freePort } from '../support/free-port.js';
import { startShop, type Shop, type ShopKind } from '../support/shops.js';

const ODD_SKUS = ['0012', 'AB 1', 'A+B', 'C/D', 'T~3', '~', 'Ü&<ö>"é"', 'x=y;z', '100%', "o'k", '№ 5 😀', '-1'];
const STOCK = [
  { key: 'MUG', title: 'Mug', quantity: 10 },
  ...ODD_SKUS.map((key) => ({ key, title: `Odd ${key}`, quantity: 10 })),
];
const LONG_MS = 10_000;

export function connectionTo(shop: Shop): CartConnection {
  return {
    cartId: 'contract',
    url: shop.url,
    username: shop.user,
    secret: shop.secret,
    storeCode: shop.storeCode,
    requestTimeoutMs: LONG_MS,
    allowPrivateAddress: true,
    tildeInKeys: true,
  };
}

export const soon = (ms = LONG_MS): CallContext => ({ deadlineMs: steadyNow() + ms });

export function sendLines(
  connector: Connector,
  cart: CartConnection,
  lines: readonly DeltaLine[],
  call = soon(),
  key = `key_${randomUUID()}`,
): Promise<readonly LineAnswer[]> {
  return connector.sendDeltas(cart, { idempotencyKey: key, createdAtMs: Date.UTC(2026, 0, 2), lines }, call);
}

/** What a call threw; a call that should fail and does not is a failure of the test. */
export async function thrownBy(call: Promise<unknown>): Promise<CartError> {
  try {
    await call;
  } catch (error) {
    expect(error).toBeInstanceOf(CartError);
    return error as CartError;
  }
  throw new Error('the call succeeded');
}

export async function readAll(
  connector: Connector,
  cart: CartConnection,
  keys: readonly string[] | null,
): Promise<Map<string, number | null>> {
  const pages: QuantityRow[] = [];
  for await (const rows of connector.readQuantities(cart, keys, () => soon())) pages.push(...rows);
  return new Map(pages.map(({ key, quantity }) => [key, quantity]));
}

/** What a kind of shop does not have, so that nothing is asked of it. */
export interface Lacking {
  /** It lists no item without tracking its stock, and does not lower to zero at most. */
  readonly oddStock?: boolean;
}

export function connectorContract(kind: ShopKind, connector: Connector, lacking: Lacking = {}): void {
  describe(`the ${connector.type} connector with a shop of the kind ${kind}`, () => {
    let shop: Shop;
    let cart: CartConnection;

    beforeAll(async () => {
      shop = await startShop(kind);
      cart = connectionTo(shop);
    });
    beforeEach(() => shop.load(STOCK));
    afterEach(() => shop.faults({}));
    afterAll(() => shop.stop());

    const deltas = async (): Promise<number> =>
      (await shop.journal()).filter(({ kind: what }) => what === 'delta').length;
    const send = (lines: readonly DeltaLine[], call?: CallContext): Promise<readonly LineAnswer[]> =>
      sendLines(connector, cart, lines, call);
    const one = [{ key: 'MUG', delta: -1 }];

    describe('a change that is answered', () => {
      it('is applied and tells the new quantity', async () => {
        expect(await send([{ key: 'MUG', delta: -3 }])).toMatchObject([
          { key: 'MUG', outcome: 'applied', quantity: 7 },
        ]);
        expect(await send([{ key: 'MUG', delta: 5 }])).toMatchObject([
          { key: 'MUG', outcome: 'applied', quantity: 12 },
        ]);
        expect((await shop.stock()).get('MUG')).toBe(12);
      });

      it.each(ODD_SKUS)('reaches the item %j', async (key) => {
        expect(await send([{ key, delta: -2 }])).toMatchObject([{ key, outcome: 'applied', quantity: 8 }]);
        expect((await shop.stock()).get(key)).toBe(8);
      });

      it('tells an unknown item', async () => {
        expect(await send([{ key: 'never loaded', delta: -1 }])).toMatchObject([{ outcome: 'not-found' }]);
      });

      it.skipIf(lacking.oddStock)('tells an item that went and one that is not tracked', async () => {
        await shop.faults({ unknownKeys: ['MUG'], untrackedKeys: ['0012'] });
        expect(await send(one)).toMatchObject([{ outcome: 'not-found' }]);
        expect(await send([{ key: '0012', delta: -1 }])).toMatchObject([{ outcome: 'not-tracked' }]);
      });

      it.skipIf(lacking.oddStock)('tells what a clamping cart really shows', async () => {
        await shop.faults({ clampAtZero: true });
        expect(await send([{ key: 'MUG', delta: -15 }])).toMatchObject([{ outcome: 'applied', quantity: 0 }]);
      });
    });

    describe('a call of which no byte left', () => {
      it('is definite when the connection is refused', async () => {
        const port = await freePort();
        const error = await thrownBy(sendLines(connector, { ...cart, url: `http://127.0.0.1:${port}/` }, one));
        expect(error).toBeInstanceOf(CartUnreachableError);
        expect(error.response).toMatch(/refused/);
      });

      it('is definite when the host is unknown', async () => {
        expect(await thrownBy(sendLines(connector, { ...cart, url: 'http://cart.invalid/' }, one))).toBeInstanceOf(
          CartUnreachableError,
        );
      });

      it('is definite when its deadline has passed, and the shop has seen nothing', async () => {
        const before = await deltas();
        const error = await thrownBy(send(one, { deadlineMs: steadyNow() - 1 }));
        expect(error).toBeInstanceOf(CartUnreachableError);
        expect(await deltas()).toBe(before);
      });

      it('is refused at a private address unless the cart may use one', async () => {
        const before = await deltas();
        const closed = { ...cart, allowPrivateAddress: false };
        expect(await thrownBy(sendLines(connector, closed, one))).toBeInstanceOf(CartUrlRefusedError);
        const named = { ...closed, url: closed.url.replace('127.0.0.1', 'localhost') };
        expect(await thrownBy(sendLines(connector, named, one))).toBeInstanceOf(CartUrlRefusedError);
        expect(await deltas()).toBe(before);
      });

      it('is definite when it was stopped before', async () => {
        expect(await thrownBy(send(one, { ...soon(), signal: AbortSignal.abort() }))).toBeInstanceOf(
          CartUnreachableError,
        );
      });
    });

    describe('a call without a believable answer', () => {
      it('is ambiguous when the connection is cut after the request', async () => {
        await shop.faults({ dropBeforeApply: 1 });
        expect(await thrownBy(send(one))).toBeInstanceOf(OutcomeUnknownError);
        expect((await shop.stock()).get('MUG')).toBe(10);
      });

      it('is ambiguous when it was applied and the answer cut', async () => {
        await shop.faults({ dropAfterApply: 1 });
        expect(await thrownBy(send(one))).toBeInstanceOf(OutcomeUnknownError);
        expect((await shop.stock()).get('MUG')).toBe(9);
      });

      it('is ambiguous when it was applied and answered with an error', async () => {
        await shop.faults({ failAfterApply: 1 });
        expect(await thrownBy(send(one))).toBeInstanceOf(OutcomeUnknownError);
        expect((await shop.stock()).get('MUG')).toBe(9);
      });

      it('is ambiguous when the deadline passes during the answer', async () => {
        await shop.faults({ delayAfterMs: 2_000 });
        const startedMs = Date.now();
        const error = await thrownBy(send(one, soon(300)));
        expect(error).toBeInstanceOf(OutcomeUnknownError);
        expect(error.response).toMatch(/deadline/);
        expect(Date.now() - startedMs).toBeLessThan(1_500);
        expect((await shop.stock()).get('MUG')).toBe(9);
      });

      it('is ambiguous when the answer takes longer than the cart may', async () => {
        await shop.faults({ delayAfterMs: 2_000 });
        expect(await thrownBy(sendLines(connector, { ...cart, requestTimeoutMs: 300 }, one))).toBeInstanceOf(
          OutcomeUnknownError,
        );
      });

      it('is ambiguous when it is stopped on the way', async () => {
        await shop.faults({ delayAfterMs: 2_000 });
        expect(await thrownBy(send(one, { ...soon(), signal: AbortSignal.timeout(300) }))).toBeInstanceOf(
          OutcomeUnknownError,
        );
      });
    });

    describe('a refused call', () => {
      it('is definite with a wrong password or secret, which no error text shows', async () => {
        const before = await deltas();
        const wrong = 'whsec_d3JvbmctcGFzc3dvcmQ=';
        const error = await thrownBy(sendLines(connector, { ...cart, secret: wrong }, one));
        expect(error).toBeInstanceOf(CartRejectedError);
        // Or a mistyped password would make a dead letter of everything that waits.
        expect((error as CartRejectedError).scope).toBe('cart');
        expect(error.response).not.toContain(wrong);
        expect(await deltas()).toBe(before);
        expect(await thrownBy(connector.testConnection({ ...cart, secret: wrong }, soon()))).toBeInstanceOf(
          CartRejectedError,
        );
      });

      it('tells how long a throttling cart asks to wait', async () => {
        await shop.faults({ throttle: 1, retryAfterSeconds: 7 });
        const error = await thrownBy(send(one));
        expect(error).toBeInstanceOf(CartThrottledError);
        expect((error as CartThrottledError).retryAfterMs).toBe(7_000);
        expect((await shop.stock()).get('MUG')).toBe(10);
      });

      it('proves nothing when the shop is closed without a word about when it opens', async () => {
        await shop.faults({ refuse: 1 });
        expect(await thrownBy(send(one))).toBeInstanceOf(OutcomeUnknownError);
      });
    });

    describe('absolute quantities', () => {
      it('are set line by line, unknown ones told apart', async () => {
        const rows = [
          { key: 'MUG', quantity: 4 },
          { key: 'never loaded', quantity: 1 },
          { key: '0012', quantity: 0 },
        ];
        const answers = await connector.setQuantities(
          cart,
          { idempotencyKey: `key_${randomUUID()}`, createdAtMs: Date.now(), rows },
          soon(),
        );
        expect(answers).toMatchObject([
          { key: 'MUG', outcome: 'applied', quantity: 4 },
          { key: 'never loaded', outcome: 'not-found' },
          { key: '0012', outcome: 'applied', quantity: 0 },
        ]);
        const stock = await shop.stock();
        expect([stock.get('MUG'), stock.get('0012')]).toEqual([4, 0]);
      });
    });

    describe('reading', () => {
      it('tells named items only as they are, and leaves out unknown ones', async () => {
        expect(await readAll(connector, cart, ['MUG', 'T~3', 'never loaded'])).toEqual(
          new Map([
            ['MUG', 10],
            ['T~3', 10],
          ]),
        );
      });

      it('tells everything, page by page', async () => {
        const many = Array.from({ length: 1_203 }, (_, number) => ({
          key: `PAGE-${number}`,
          title: `Item ${number}`,
          quantity: number,
        }));
        await shop.load(many);
        expect(await readAll(connector, cart, null)).toEqual(await shop.stock());
      });

      it.skipIf(lacking.oddStock)('tells an item that is not tracked without a quantity', async () => {
        await shop.faults({ untrackedKeys: ['MUG'] });
        expect((await readAll(connector, cart, ['MUG'])).get('MUG')).toBeNull();
      });

      it('finds the connection in order', async () => {
        const report = await connector.testConnection(cart, soon());
        expect(report.version).toMatch(/^\d/);
        expect(report.findings.length).toBeGreaterThan(1);
      });
    });

    describe('orders', () => {
      it('come oldest first, page by page, each once, and then no more', async () => {
        await shop.load([{ key: 'MUG', title: 'Mug', quantity: 1_000 }]);
        const first = await allOrders(connector, cart, null);
        for (let number = 0; number < 130; number += 1)
          await shop.buyLines(
            [
              { key: 'MUG', quantity: 1 },
              { key: 'T~3', quantity: 1 },
            ],
            true,
          );
        const told = await allOrders(connector, cart, first.mark);
        const made = (await shop.orders()).slice(-130);
        expect(told.orders.map(({ number }) => number)).toEqual(made.map(({ number }) => number));
        expect(told.orders[0]).toMatchObject({
          state: 'open',
          lines: [
            { line: made[0]?.lines[0]?.line, key: 'MUG', quantity: 1, title: 'Mug' },
            { line: made[0]?.lines[1]?.line, key: 'T~3', quantity: 1 },
          ],
        });
        expect(Math.abs(Date.parse(told.orders[0]?.placedAt ?? '') - Date.parse(made[0]?.placedAt ?? ''))).toBeLessThan(
          1_000,
        );
        expect((await allOrders(connector, cart, told.mark)).orders).toEqual([]);
      });
    });
  });
}

/** Reads until a page is empty, as the worker does. */
async function allOrders(
  connector: Connector,
  cart: CartConnection,
  since: string | null,
): Promise<{ orders: CartOrder[]; mark: string | null }> {
  const orders: CartOrder[] = [];
  let mark = since;
  for (;;) {
    const page = await connector.readOrders(cart, mark, soon());
    if (page.orders.length === 0) return { orders, mark };
    orders.push(...page.orders);
    mark = page.mark;
  }
}
