import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { decodeCursor, digits, encodeCursor } from '../../src/modules/http/paging.js';
import { Problem } from '../../src/modules/http/problem.js';
import { newOrder } from '../../src/modules/orders/orders.controller.js';
import { fuzz, mutated, mutatedJson, read } from './mutated.js';

/** What callers send is refused by name or is fit to be recorded; there is nothing in between. */
describe(`a cursor (seed ${fuzz.seed})`, () => {
  const position = z.tuple([z.string(), digits]);

  it('that was handed out leads back to its place', () => {
    const text = fc.string({ unit: 'grapheme' }).filter((part) => /^[^\p{Cc}\p{Cs}]*$/u.test(part));
    fc.assert(
      fc.property(text, fc.nat().map(String), (name, number) => {
        expect(decodeCursor(encodeCursor([name, number]), position)).toEqual([name, number]);
      }),
      fuzz,
    );
  });

  it('that was not is refused as one', () => {
    const any = fc.oneof(
      fc.string(),
      mutated(encodeCursor(['MUG', '7'])),
      fc.jsonValue().map((value) => Buffer.from(JSON.stringify(value)).toString('base64url')),
    );
    fc.assert(
      fc.property(any, (cursor) => {
        const outcome = read(() => decodeCursor(cursor, position));
        if ('value' in outcome) {
          expect(position.safeParse(outcome.value).success).toBe(true);
          expect(outcome.value![0]).toMatch(/^[^\p{Cc}\p{Cs}]*$/u);
        } else {
          expect(outcome.error).toBeInstanceOf(Problem);
          expect((outcome.error as Problem).code).toBe('invalid-cursor');
        }
      }),
      fuzz,
    );
  });
});

describe(`an order that is told (seed ${fuzz.seed})`, () => {
  const line = { line: '1', sku: 'MUG', location: 'main', quantity: 2 };
  const orders = [
    { number: 'P-1', revision: 1, placedAt: '2026-03-01T12:00:00Z', origin: 'phone', lines: [line, { ...line, line: '2' }] },
    { number: 'C-1', cartId: 'shop', state: 'open', lines: [{ key: 'MUG', quantity: 2, title: 'Mug' }] },
  ]; // prettier-ignore

  it('is refused with the place of the mistake, or can be recorded as it stands', () => {
    fc.assert(
      fc.property(fc.constantFrom(...orders).chain(mutatedJson), (body) => {
        const outcome = read(() => newOrder.safeParse(body));
        if ('error' in outcome) throw outcome.error;
        const parsed = outcome.value;
        if (!parsed.success) {
          expect(parsed.error.issues.length).toBeGreaterThan(0);
          return;
        }
        expect(parsed.data.number).toMatch(/^[^\p{Cc}\p{Cs}/]{1,100}$/u);
        for (const { quantity } of parsed.data.lines)
          expect(Number.isSafeInteger(quantity) && quantity >= 1 && quantity <= 1e9).toBe(true);
        // What was understood is understood again in the same way.
        const told = JSON.stringify(parsed.data);
        expect(JSON.stringify(newOrder.parse(JSON.parse(told)))).toBe(told);
      }),
      fuzz,
    );
  });
});
