import { CronExpressionParser } from 'cron-parser';
import { IANAZone } from 'luxon';
import type { Cadence } from '../events/facts.js';

type Cron = Extract<Cadence, { kind: 'cron' }>;

/** The moments of a pattern around a moment; null: none before, or none to come. */
export interface Moments {
  readonly last: Date | null;
  readonly next: Date | null;
}

/**
 * Pure. The zone's clock counts: at 02:30 on a day that has no such time is 03:30, and on a day that has it twice it is the
 * first.
 */
export function momentsAround({ pattern, timeZone }: Cron, now: Date): Moments {
  return { last: lastMoment(pattern, timeZone, now), next: step(pattern, timeZone, now, 'next') };
}

/**
 * Searching back misses a time that its day lacks and meets one twice that its day has twice, where searching on does
 * neither. So it is searched back by two and on again.
 */
function lastMoment(pattern: string, timeZone: string, now: Date): Date | null {
  // A moment has come when it is reached, and the search is for earlier ones only.
  const back = step(pattern, timeZone, new Date(now.getTime() + 1), 'prev');
  let last = back === null ? null : (step(pattern, timeZone, back, 'prev') ?? back);
  for (let on = last; on !== null && on <= now; on = step(pattern, timeZone, on, 'next')) last = on;
  return last;
}

function step(pattern: string, timeZone: string, from: Date, way: 'next' | 'prev'): Date | null {
  try {
    return CronExpressionParser.parse(pattern, { tz: timeZone, currentDate: from })[way]().toDate();
  } catch {
    return null;
  }
}

/** Keeps what was worked out, by pattern and zone, until the next moment has come or the clock was set back. */
export class KnownMoments {
  private readonly known = new Map<string, Moments>();

  around(cadence: Cron, now: Date): Moments {
    const key = `${cadence.timeZone} ${cadence.pattern}`;
    const known = this.known.get(key);
    if (known !== undefined && (known.last ?? now) <= now && now < (known.next ?? now)) return known;
    if (this.known.size >= knownMax) this.known.clear();
    const moments = momentsAround(cadence, now);
    this.known.set(key, moments);
    return moments;
  }
}

const knownMax = 1_000;

const words = ['@hourly', '@daily', '@weekly', '@monthly', '@yearly'];

/** @returns what is wrong with a pattern, null where nothing is */
export function refusePattern(pattern: string): string | null {
  const fields = pattern.trim().split(/\s+/);
  const how = `must be five fields (minute, hour, day, month, weekday) such as "0 6 * * 1-5", or one of ${words.join(', ')}`;
  // More fields would mean seconds, fewer would be filled up from the left, and H is another number in each process.
  if (!words.includes(pattern) && (fields.length !== 5 || fields.some((field) => /(^|[^A-Z])H/i.test(field))))
    return how;
  try {
    CronExpressionParser.parse(pattern, { tz: 'UTC' });
  } catch (error) {
    const never = /day of month/.test(String(error)) && fields.length === 5;
    return never ? neverComes : `${how}: ${error instanceof Error ? error.message : String(error)}`;
  }
  return step(pattern, 'UTC', new Date(), 'next') === null ? neverComes : null;
}

const neverComes = 'never comes: no month it names has such a day';

export const isTimeZone = (name: string) => IANAZone.isValidZone(name);
