import { describe, expect, it } from 'vitest';
import { beforeOf, isFromBefore, laterMark, notSeenAt, overlapOf, recentAfter, startOf } from './order-overlap.js';
import type { FeedState } from './order-overlap.js';

const at = (seconds: number) => new Date(Date.UTC(2026, 0, 1) + seconds * 1_000);
const numbers = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, index) => String(first + index));
const state: FeedState = {
  mark: '150',
  recent: numbers(121, 150),
  before: numbers(110, 120),
  startedAt: at(95),
  overlappedAt: at(80),
  deepAt: at(0),
  day: null,
  beforeDay: null,
};
const order = (number: string, placedAt: string | null = null) => ({ number, placedAt });
const old = (before: readonly string[], beforeDay: string | null = null) => ({ before, beforeDay });

describe('which orders a poll asks for again', () => {
  it('none in between, the last ten every half minute or when somebody counts with them, a hundred every five minutes', () => {
    expect(overlapOf(state, at(100), false)).toBe('none');
    expect(overlapOf(state, at(100), true)).toBe('shallow');
    expect(overlapOf(state, at(110), false)).toBe('shallow');
    expect(overlapOf(state, at(300), false)).toBe('deep');
  });

  it('begins behind an order that the cart told, never before those of its first poll', () => {
    expect(startOf(state, 'none')).toBe('150');
    expect(startOf(state, 'shallow')).toBe('140');
    expect(startOf(state, 'deep')).toBe('110');
    expect(startOf({ ...state, recent: [], before: [] }, 'deep')).toBe('150');
  });

  it('what was told before the cart was connected is not imported, and what came up late among it is', () => {
    expect(isFromBefore(state, order('115'))).toBe(true);
    expect(isFromBefore(state, order('7'))).toBe(true);
    expect(isFromBefore(old(['110', '112']), order('111'))).toBe(false);
    expect(isFromBefore(state, order('121'))).toBe(false);
    expect(isFromBefore(old([]), order('1'))).toBe(false);
    expect(isFromBefore(old(['W-1']), order('W-0'))).toBe(false);
    expect(isFromBefore(old(['W-1'], '2026-06-10'), order('W-0', '2026-06-09T23:00:00Z'))).toBe(true);
    expect(isFromBefore(old(['W-1'], '2026-06-10'), order('W-0', '2026-06-10T00:00:00Z'))).toBe(false);
  });

  it('an order that was asked for a moment ago was not there then; of an older one nobody knows', () => {
    expect(notSeenAt(state, '151')).toEqual(at(95));
    expect(notSeenAt(state, '149')).toEqual(at(80));
    expect(notSeenAt(state, '130')).toBeNull();
    expect(notSeenAt(state, 'W-9')).toEqual(at(95));
  });

  it('the mark never goes back, and numbers are compared as numbers', () => {
    expect([laterMark('99', '100'), laterMark('100', '99'), laterMark(null, '5'), laterMark('W-2', 'W-1')]).toEqual([
      '100', '100', '5', 'W-1',
    ]); // prettier-ignore
  });

  it('remembers a hundred and one orders, each once', () => {
    const recent = recentAfter(numbers(1, 101), ['101', '102', '50']);
    expect([recent.length, recent[0], recent.at(-1)]).toEqual([101, '2', '102']);
    expect(recentAfter(['W-9'], ['W-1'])).toEqual(['W-9', 'W-1']);
    expect(beforeOf(numbers(1, 50))).toEqual(numbers(40, 50));
  });
});
