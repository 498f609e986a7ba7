import { describe, expect, it } from 'vitest';
import { classify, type DriftEvidence, type ToldLine } from '../../src/cart-workers/drifts/drift-class.js';

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 12, 0, second));
const quiet: DriftEvidence = {
  listed: true,
  shown: 10,
  should: 10,
  lines: [],
  changes: [],
  ordersComplete: true,
  feedMovedOn: true,
  repairedBeforeItsOrder: false,
};
const line = (delta: number, more: Partial<ToldLine> = {}): ToldLine => ({
  delta,
  outcome: 'applied',
  proven: false,
  sends: 1,
  from: at(1),
  to: at(2),
  ...more,
});
const told = (evidence: Partial<DriftEvidence>) => {
  const { class: one, candidates } = classify({ ...quiet, ...evidence });
  return one === 'unknown' ? candidates : one;
};

describe('the class of a drift', () => {
  it('is a lost delta where exactly a delta that only an answer vouches for is missing', () => {
    expect(told({ shown: 5, lines: [line(5), line(-2, { proven: true })] })).toBe('delta-lost');
    expect(told({ shown: 14, lines: [line(-4)] })).toBe('delta-lost');
  });

  it('is not a lost delta where the reply told that it was applied', () => {
    expect(told({ shown: 5, lines: [line(5, { proven: true })] })).toBe('edited-at-cart');
  });

  it('is a doubled delta where one that was sent twice, or settled as not applied, is there once too often', () => {
    expect(told({ shown: 17, lines: [line(7, { sends: 2 })] })).toBe('delta-doubled');
    expect(told({ shown: 17, lines: [line(7, { outcome: 'settled as not applied' })] })).toBe('delta-doubled');
    expect(told({ shown: 17, lines: [line(7)] })).toBe('edited-at-cart');
  });

  it('is a checkout that swallowed a delta where an order was around it and the reply had told it', () => {
    const sale = { delta: -1, from: at(0), to: at(3) };
    expect(told({ shown: 5, lines: [line(5, { proven: true })], changes: [sale] })).toBe('swallowed-by-checkout');
    expect(told({ shown: 5, lines: [line(5)], changes: [sale] })).toEqual(['delta-lost', 'swallowed-by-checkout']);
    expect(told({ shown: 5, lines: [line(5, { lackedAtOnce: true })], changes: [sale] })).toBe('delta-lost');
    const later = { delta: -1, from: at(600), to: at(601) };
    expect(told({ shown: 5, lines: [line(5)], changes: [later] })).toBe('delta-lost');
  });

  it('is clamped where the same steps, cut off at zero, end where the listing is', () => {
    expect(told({ shown: 0, should: -2, lines: [line(-5)] })).toBe('clamped');
    expect(told({ shown: 5, should: 3, lines: [line(-5), line(5, { to: at(4) })] })).toBe('clamped');
    expect(told({ shown: 0, should: -5, lines: [line(-5)] })).toEqual(['delta-lost', 'clamped']);
  });

  it('is an edit only where nothing else fits, and missing pieces are not called one before the feed has moved on', () => {
    expect(told({ shown: 13 })).toBe('edited-at-cart');
    expect(told({ shown: 7 })).toBe('edited-at-cart');
    expect(told({ shown: 7, feedMovedOn: false })).toEqual(['edited-at-cart', 'order-not-imported']);
    expect(told({ shown: 13, ordersComplete: false })).toEqual(['edited-at-cart', 'order-not-imported']);
    expect(told({ shown: 13, changes: [{ delta: -3, from: at(0), to: at(1) }] })).toEqual([
      'edited-at-cart',
      'order-not-imported',
    ]);
  });

  it('is an order that came late where its repair is too much now', () => {
    expect(told({ shown: 12, repairedBeforeItsOrder: true })).toBe('order-not-imported');
  });

  it('is unknown, naming both, where two fit, and where only a sum of several does', () => {
    expect(told({ shown: 15, lines: [line(-5), line(5, { sends: 2 })] })).toEqual(['delta-lost', 'delta-doubled']);
    expect(told({ shown: 2, lines: [line(5), line(3)] })).toEqual(['delta-lost', 'edited-at-cart']);
  });

  it('is unknown where an order or a cancel of the very same size may not have been told yet', () => {
    expect(told({ shown: 5, lines: [line(5)], feedMovedOn: false })).toEqual(['delta-lost', 'order-not-imported']);
    expect(told({ shown: 3, lines: [line(-7, { sends: 2 })], feedMovedOn: false })).toEqual([
      'delta-doubled',
      'order-not-imported',
    ]);
    expect(told({ shown: 14, lines: [line(-4)], changes: [{ delta: -4, from: at(900), to: at(901) }] })).toEqual([
      'delta-lost',
      'order-not-imported',
    ]);
    expect(told({ shown: 14, lines: [line(-4)], ordersComplete: false })).toEqual(['delta-lost', 'order-not-imported']);
  });

  it('is unknown where a try without an answer may have come to the cart at last', () => {
    const candidates = ['delta-doubled', 'edited-at-cart'];
    expect(told({ shown: 17, lines: [line(7, { proven: true, sends: 2 })] })).toEqual(candidates);
    expect(told({ shown: 17, lines: [line(7, { proven: true, sends: 2, late: true })] })).toEqual(candidates);
    expect(told({ shown: 17, lines: [line(7, { outcome: 'settled as not applied', late: true })] })).toEqual(
      candidates,
    );
    expect(told({ shown: 17, lines: [line(7, { outcome: 'rejected' })] })).toEqual(candidates);
    expect(told({ shown: 17, lines: [line(7, { outcome: 'superseded' })] })).toEqual(candidates);
    // What was never sent cannot come, and what a listing was equal with is not lost any more.
    expect(told({ shown: 17, lines: [line(7, { outcome: 'superseded', sends: 0 })] })).toBe('edited-at-cart');
    expect(told({ shown: 3, lines: [line(7, { sends: 2, late: true })] })).toBe('edited-at-cart');
  });

  it('is unknown where zero was met only if the steps came in another order than they became known', () => {
    const order = { delta: -9, from: at(0), to: at(60) };
    const lines = [line(-3, { to: at(10), proven: true }), line(2, { to: at(20), proven: true })];
    expect(told({ shown: 2, should: 0, lines, changes: [order] })).toEqual(['edited-at-cart', 'clamped']);
    expect(told({ shown: 9, should: 0, lines, changes: [{ ...order, delta: -8 }] })).toBe('edited-at-cart');
  });

  it('is what the cart says where it does not list or track the item', () => {
    expect(told({ listed: false, shown: null })).toBe('unlisted');
    expect(told({ shown: null })).toBe('not-tracked');
  });
});
