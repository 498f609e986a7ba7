import { describe, expect, it } from 'vitest';
import { isTimeZone, KnownMoments, momentsAround, refusePattern } from '../../src/cart-workers/cadence.js';

const around = (pattern: string, timeZone: string, now: string) => {
  const { last, next } = momentsAround({ kind: 'cron', pattern, timeZone }, new Date(now));
  return [last?.toISOString(), next?.toISOString()];
};

describe('the moments of a cadence', () => {
  it('are those of the zone’s clock, in winter and in summer', () => {
    expect(around('0 6 * * *', 'Europe/Vienna', '2026-01-10T12:00:00Z')).toEqual([
      '2026-01-10T05:00:00.000Z',
      '2026-01-11T05:00:00.000Z',
    ]);
    expect(around('0 6 * * *', 'Europe/Vienna', '2026-07-10T12:00:00Z')).toEqual([
      '2026-07-10T04:00:00.000Z',
      '2026-07-11T04:00:00.000Z',
    ]);
  });

  it('have come when they are reached, not a second later', () => {
    expect(around('0 6 * * *', 'UTC', '2026-01-10T06:00:00.000Z')[0]).toBe('2026-01-10T06:00:00.000Z');
    expect(around('0 6 * * *', 'UTC', '2026-01-10T05:59:59.999Z')[0]).toBe('2026-01-09T06:00:00.000Z');
  });

  it('come once on a day that lacks their hour, and once on a day that has it twice', () => {
    const lacking = '2026-03-29T01:30:00.000Z';
    expect(around('30 2 * * *', 'Europe/Vienna', '2026-03-29T12:00:00Z')).toEqual([
      lacking,
      '2026-03-30T00:30:00.000Z',
    ]);
    expect(around('30 2 * * *', 'Europe/Vienna', '2026-03-29T00:59:00Z')[1]).toBe(lacking);
    for (const now of ['2026-10-25T00:45:00Z', '2026-10-25T01:45:00Z', '2026-10-25T12:00:00Z'])
      expect(around('30 2 * * *', 'Europe/Vienna', now)).toEqual([
        '2026-10-25T00:30:00.000Z',
        '2026-10-26T01:30:00.000Z',
      ]);
  });

  it('come each hour of a day that has one twice', () => {
    expect(around('30 * * * *', 'Europe/Vienna', '2026-10-25T01:45:00Z')).toEqual([
      '2026-10-25T01:30:00.000Z',
      '2026-10-25T02:30:00.000Z',
    ]);
  });

  it('are worked out again when the clock was set back', () => {
    const moments = new KnownMoments();
    const hourly = { kind: 'cron', pattern: '0 * * * *', timeZone: 'UTC' } as const;
    expect(moments.around(hourly, new Date('2026-01-10T06:30:00Z')).last).toEqual(new Date('2026-01-10T06:00:00Z'));
    expect(moments.around(hourly, new Date('2026-01-10T05:30:00Z')).last).toEqual(new Date('2026-01-10T05:00:00Z'));
    expect(moments.around(hourly, new Date('2026-01-10T07:00:00Z')).last).toEqual(new Date('2026-01-10T07:00:00Z'));
  });
});

describe('a pattern', () => {
  it.each(['0 6 * * *', '*/15 8-18 * * 1-5', '0 0 29 2 *', '0 6 L * *', '0 9 * MAR-MAY MON', '@daily'])(
    '%s is one',
    (pattern) => expect(refusePattern(pattern)).toBeNull(),
  );
  it.each([
    ['', /five fields/],
    ['0 6 * *', /five fields/],
    ['0 0 6 * * *', /five fields/],
    ['61 6 * * *', /five fields.*61/],
    ['H 6 * * *', /five fields/],
    ['every day', /five fields/],
    ['@secondly', /five fields/],
    ['0 0 31 2 *', /never comes/],
    ['0 0 30 2 *', /never comes/],
    ['0 0 31 4,6,9,11 *', /never comes/],
  ])('"%s" is refused in words that say why', (pattern, why) => expect(refusePattern(pattern)).toMatch(why));
});

it('knows the time zones of the world and no others', () => {
  expect(['Europe/Berlin', 'America/New_York', 'UTC'].map(isTimeZone)).toEqual([true, true, true]);
  expect(['Mars/Olympus', 'CEST', '', '25:00'].map(isTimeZone)).toEqual([false, false, false, false]);
});
