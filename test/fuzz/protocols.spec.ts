import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CartError } from '../../src/cart-workers/connectors/cart-error.js';
import type { LineAnswer } from '../../src/cart-workers/connectors/connector.js';
import {
  ordersListAnswer,
  parseAnswer,
  parseLineAnswers,
  parseOrderWebhook,
  readableOrder,
  stockReadAnswer,
  verifyWebhook,
  webhookBody,
} from '../../src/cart-workers/connectors/webhook-protocol.js';
import {
  deltaUpdate,
  parseDeltaAnswer,
  parseReplaceAnswer,
  replaceUpdate,
  setiCannotSay,
} from '../../src/cart-workers/connectors/seti-protocol.js';
import { parseOrders, parseQuantities, parseSetiDate } from '../../src/cart-workers/connectors/seti-xml.js';
import { fuzz, mutated, mutatedJson, read } from './mutated.js';

/**
 * What carts answer is not ours. Whatever comes is read or refused with one of the declared errors, in bounded time, and is
 * never taken for "applied" where it does not say so in clear words.
 */
const golden = (name: string): string => readFileSync(new URL(`../contract/golden/${name}`, import.meta.url), 'utf8');

/** A value, or a CartError. */
function readOrCartError<T>(parse: () => T): T | null {
  const outcome = read(parse);
  if ('value' in outcome) return outcome.value;
  expect(outcome.error).toBeInstanceOf(CartError);
  return null;
}

const storable = /^[^\p{Cc}\p{Cs}]*$/u;

describe(`the signed webhook (seed ${fuzz.seed})`, () => {
  const keys = ['A', 'B', '0012'];
  const answer = {
    lines: [
      { key: 'A', status: 'applied', quantity: 3 },
      { key: 'B', status: 'rejected', message: 'locked' },
      { key: '0012', status: 'not-found' },
    ],
  };

  /** Read by other means than the parser's: every line about the key says "applied", and at least one does. */
  function saysApplied(text: string, key: string): boolean {
    const { lines } = JSON.parse(text) as typeof answer;
    const about = lines.filter((line) => line.key === key);
    return about.length > 0 && about.every(({ status }) => status === 'applied');
  }
  function expectBelievable(text: string): void {
    const told = readOrCartError<LineAnswer[]>(() => parseLineAnswers(text, keys, []));
    if (told === null) return;
    expect(told.map(({ key }) => key)).toEqual(keys);
    for (const line of told) {
      if (line.outcome !== 'applied') continue;
      expect(saysApplied(text, line.key)).toBe(true);
      expect(line.quantity === null || Number.isSafeInteger(line.quantity)).toBe(true);
    }
  }

  it('a changed answer never says "applied" of a line that the cart did not say it of', () => {
    fc.assert(fc.property(mutated(JSON.stringify(answer)), expectBelievable), fuzz);
    fc.assert(
      fc.property(mutatedJson(answer), (body) => expectBelievable(JSON.stringify(body))),
      fuzz,
    );
  });

  it('lists of stock and of orders are read or refused, and what is read can be stored', () => {
    const stock = { rows: [{ key: 'A', quantity: 3 }, { key: 'B', quantity: null }], nextCursor: 'x' }; // prettier-ignore
    const order = (JSON.parse(golden('webhook-order-updated.txt')) as { data: { number: string } }).data;
    fc.assert(
      fc.property(mutatedJson(stock), (body) => {
        const told = readOrCartError(() => parseAnswer(stockReadAnswer, JSON.stringify(body)));
        for (const row of told?.rows ?? []) {
          expect(row.key).toMatch(storable);
          expect(row.quantity === null || Number.isSafeInteger(row.quantity)).toBe(true);
        }
      }),
      fuzz,
    );
    fc.assert(
      fc.property(mutatedJson({ orders: [order, order], mark: '7' }), (body) => {
        const told = readOrCartError(() => parseAnswer(ordersListAnswer, JSON.stringify(body)));
        for (const one of told?.orders ?? []) expectSoundOrder(readableOrder(one));
      }),
      fuzz,
    );
  });

  it('an order that is posted is an order or a problem in words', () => {
    const text = golden('webhook-order-updated.txt');
    const any = fc.oneof(
      mutated(text).map((changed) => Buffer.from(changed)),
      mutatedJson(JSON.parse(text)).map((body) => Buffer.from(JSON.stringify(body))),
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    );
    fc.assert(
      fc.property(any, (bytes) => {
        const outcome = read(() => parseOrderWebhook(bytes));
        if ('error' in outcome) throw outcome.error;
        if ('problem' in outcome.value) expect(outcome.value.problem).not.toBe('');
        else expectSoundOrder(outcome.value.order);
      }),
      fuzz,
    );
  });

  it('no changed header or body passes for a signed one', () => {
    const header = fc.oneof(fc.string(), fc.array(fc.string()), fc.constant(undefined));
    const headers = fc.record({ 'webhook-id': header, 'webhook-timestamp': header, 'webhook-signature': header });
    fc.assert(
      fc.property(headers, fc.uint8Array(), fc.string(), (some, bytes, secret) => {
        expect(verifyWebhook(some, Buffer.from(bytes), secret)).toMatchObject({ valid: false });
      }),
      fuzz,
    );
  });

  it('an order that was written is read as it was', () => {
    const word = fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }).filter((text) => storable.test(text));
    const order = fc.record({
      number: word,
      revision: fc.nat(),
      placedAt: fc.constantFrom(null, '2026-01-02T03:04:05+02:00'),
      state: fc.constantFrom('open', 'shipped', 'closed', 'cancelled'),
      lines: fc.uniqueArray(fc.record({ line: word, key: word, quantity: fc.nat(), title: word }), {
        selector: ({ line }) => line,
        maxLength: 10,
      }),
    });
    fc.assert(
      fc.property(order, (told) => {
        const body = webhookBody('orders.list', 0, told).replace('"orders.list"', '"order.updated"');
        expect(parseOrderWebhook(Buffer.from(body))).toEqual({ order: told });
      }),
      fuzz,
    );
  });
});

describe(`SETI (seed ${fuzz.seed})`, () => {
  const key = 'AB 1/2+~3';

  it('a changed answer to a delta never says "applied" without an OK for this item', () => {
    const valid = ['seti-invupdate-ok', 'seti-invupdate-not-found', 'seti-invupdate-ok-but-not-found'].map((name) =>
      golden(`${name}.response.txt`),
    );
    fc.assert(
      fc.property(fc.constantFrom(...valid).chain(mutated), (text) => {
        const told = readOrCartError(() => parseDeltaAnswer(text, key));
        if (told?.outcome !== 'applied') return;
        expect(text).toMatch(/^[\s\uFEFF]*SETIResponse\s*[:=]\s*OK\b/i);
        expect(text).not.toMatch(/not\s*found/i);
        expect(told.quantity === null || Number.isSafeInteger(told.quantity)).toBe(true);
      }),
      fuzz,
    );
  });

  it('a changed answer to absolute quantities never says "applied" of a line without its OK', () => {
    fc.assert(
      fc.property(mutated(golden('seti-qohreplace.response.txt')), (text) => {
        const told = readOrCartError(() => parseReplaceAnswer(text));
        for (const [sku, { outcome }] of told ?? [])
          if (outcome === 'applied')
            expect(text.replaceAll('\r', '\n')).toMatch(new RegExp(`${escaped(sku)}\\s*=\\s*OK`, 'i'));
      }),
      fuzz,
    );
  });

  it('changed lists of stock and orders are read or refused, and what is read can be stored', () => {
    const stock = fc.constantFrom(
      golden('seti-downloadqoh.response.xml'),
      golden('seti-downloadqoh-tabs.response.txt'),
    );
    fc.assert(
      fc.property(stock.chain(mutated), (text) => {
        for (const { quantity } of readOrCartError(() => parseQuantities(text))?.rows ?? [])
          expect(quantity === null || Number.isSafeInteger(quantity)).toBe(true);
      }),
      fuzz,
    );
    fc.assert(
      fc.property(mutated(golden('seti-downloadorders.response.xml')), (text) => {
        for (const order of readOrCartError(() => parseOrders(text))?.rows ?? []) expectSoundOrder(order);
      }),
      fuzz,
    );
  });

  it('a date is a moment or none', () => {
    const parts = fc.array(
      fc.oneof(fc.integer({ min: -1, max: 99_999 }).map(String), fc.constantFrom('May', 'x', '')),
      {
        minLength: 3,
        maxLength: 6,
      },
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          parts.map((words) => words.join('-')),
        ),
        (text) => {
          const moment = parseSetiDate(text);
          if (moment !== null) expect(new Date(moment).toISOString()).toBe(moment);
        },
      ),
      fuzz,
    );
  });

  it('what is sent can be taken apart again, whatever the SKU', () => {
    const sku = fc
      .string({ minLength: 1, unit: 'grapheme' })
      .filter((text) => setiCannotSay(text, { tildeInKeys: true }) === null);
    const rows = fc.array(fc.record({ key: sku, quantity: fc.integer() }), { maxLength: 10 });
    const apart = (update: string) => {
      const at = update.lastIndexOf('~');
      return { key: update.slice(0, at), quantity: Number(update.slice(at + 1)) };
    };
    fc.assert(
      fc.property(rows, (some) => {
        const { count, update } = replaceUpdate('plain', some);
        expect(count).toBe(String(some.length));
        expect(update.split('|').slice(0, -1).map(apart)).toEqual(some);
        for (const row of some) expect(apart(deltaUpdate('plain', row.key, row.quantity))).toEqual(row);
      }),
      fuzz,
    );
  });
});

const escaped = (text: string) => text.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');

function expectSoundOrder(order: ReturnType<typeof readableOrder>): void {
  expect(order.number).toMatch(storable);
  expect(order.placedAt === null || !Number.isNaN(Date.parse(order.placedAt))).toBe(true);
  for (const { line, key, quantity, title } of order.lines) {
    expect([line, key, title].every((text) => storable.test(text))).toBe(true);
    expect(Number.isSafeInteger(quantity) && quantity >= 0).toBe(true);
  }
  expect(new Set(order.lines.map(({ line }) => line)).size).toBe(order.lines.length);
}
