import { getNextMillis } from 'bullmq';
import { describe, expect, it } from 'vitest';
import type { ResetSourceSettings } from '../../src/events/facts.js';
import { matchesPattern, momentOfName } from '../../src/modules/daily-reset/file-moment.js';
import { scheduleOf } from '../../src/modules/daily-reset/reset-jobs.js';
import { localTime } from '../../src/modules/imports/reset-rows.js';

describe('the moment of a file', () => {
  it.each([
    ['stock-{yyyyMMdd}-{HHmm}.csv', 'stock-20260301-0400.csv', '2026-03-01T03:00:00.000Z'],
    ['{yyyy-MM-dd}*.csv', '2026-07-01-of-the-erp.csv', '2026-06-30T22:00:00.000Z'],
    ['*_{ddMMyy}.txt', 'Lager (Nord)_010326.txt', '2026-02-28T23:00:00.000Z'],
    ['stock-{yyyyMMdd}.csv', 'stock-20260230.csv', null],
    ['stock-{yyyyMMdd}.csv', 'other-20260301.csv', null],
    // 02:30 comes twice on that night: the first one is meant.
    ['stock-{yyyyMMddHHmm}.csv', 'stock-202610250230.csv', '2026-10-25T00:30:00.000Z'],
  ])('%s of %s is %s', (pattern, name, moment) => {
    expect(momentOfName(pattern, name, 'Europe/Berlin')).toBe(moment);
  });

  it.each([
    ['2026-03-01 04:00:00', '2026-03-01T03:00:00.000Z'],
    ['2026-03-01T04:00:00-05:00', '2026-03-01T09:00:00.000Z'],
    ['2026-03-01T04:00Z', '2026-03-01T04:00:00.000Z'],
    ['2026-10-25 02:30', '2026-10-25T00:30:00.000Z'],
    ['04:00', null],
    ['yesterday', null],
    ['', null],
  ])('"%s" in a column is %s', (cell, moment) => {
    expect(localTime(cell, 'Europe/Berlin')).toBe(moment);
  });

  it('a pattern of names takes * and ? and nothing else', () => {
    expect(matchesPattern('stock-*.csv', 'stock-1.csv')).toBe(true);
    expect(matchesPattern('stock-?.csv', 'stock-12.csv')).toBe(false);
    expect(matchesPattern('a.csv', 'abcsv')).toBe(false);
    expect(matchesPattern('(a+)+$*', '(a+)+$.csv')).toBe(true);
  });
});

describe('a daily schedule', () => {
  const source = (at: string) =>
    ({
      sourceId: 'erp',
      on: true,
      from: { kind: 'folder', folder: 'x' },
      schedule: { kind: 'daily', at, lateMinutes: 0 },
      timeZone: 'Europe/Berlin',
    }) as ResetSourceSettings;
  /** The next times that BullMQ reckons, on both of its backends alike. */
  const timesAfter = (moment: string, at: string, count: number) => {
    const [[, schedule]] = scheduleOf(source(at)) as [[string, { pattern: string; tz: string }]];
    const times: string[] = [];
    for (let after = Date.parse(moment); times.length < count;) {
      after = getNextMillis(after, schedule)!;
      times.push(new Date(after).toISOString());
    }
    return times;
  };

  it('keeps its hour on the wall when the clocks are changed', () => {
    expect(timesAfter('2026-03-28T00:00:00Z', '04:00', 2)).toEqual([
      '2026-03-28T03:00:00.000Z',
      '2026-03-29T02:00:00.000Z',
    ]);
    expect(timesAfter('2026-10-24T00:00:00Z', '04:00', 2)).toEqual([
      '2026-10-24T02:00:00.000Z',
      '2026-10-25T03:00:00.000Z',
    ]);
  });

  it('comes once in the night whose hour is missing, and once in the one that has it twice', () => {
    const spring = timesAfter('2026-03-28T12:00:00Z', '02:30', 2);
    expect(spring[0]! < '2026-03-29T02:00:00Z' && spring[0]! >= '2026-03-29T01:00:00Z').toBe(true);
    expect(spring[1]).toBe('2026-03-30T00:30:00.000Z');
    const autumn = timesAfter('2026-10-24T12:00:00Z', '02:30', 2);
    expect(autumn[0]!.slice(0, 10)).toBe('2026-10-25');
    expect(autumn[1]).toBe('2026-10-26T01:30:00.000Z');
  });

  it('is none for a source that is off, sent by hand, or looked into by hand', () => {
    expect(scheduleOf({ ...source('04:00'), on: false })).toEqual([]);
    expect(scheduleOf({ ...source('04:00'), from: { kind: 'upload' } })).toEqual([]);
    expect(scheduleOf({ ...source('04:00'), schedule: { kind: 'every', minutes: 5 } })).toEqual([
      ['erp', { every: 300_000 }],
    ]);
  });
});
