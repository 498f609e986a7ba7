/** What moment a file speaks of, and which names a pattern means. Pure. */
import { DateTime } from 'luxon';
import type { ResetSourceSettings } from '../../events/facts.js';

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** `*` is any text, `?` any one character. */
export const matchesPattern = (pattern: string, name: string): boolean =>
  new RegExp(`^${escaped(pattern).replaceAll('\\*', '.*').replaceAll('\\?', '.')}$`, 's').test(name);

/**
 * The moment in a name such as `stock-20260301-0400.csv`, by a pattern such as `stock-{yyyyMMdd}-{HHmm}.csv`; `*` is any
 * text. Of an hour that comes twice the first one is meant.
 * @returns ISO 8601 in UTC; null where the name does not fit
 */
export function momentOfName(pattern: string, name: string, zone: string): string | null {
  const formats: string[] = [];
  const regex = pattern
    .split(/(\{[^}]*\}|\*)/)
    .map((part) => {
      if (part === '*') return '.*?';
      const format = /^\{([^}]+)\}$/.exec(part)?.[1];
      if (format === undefined) return escaped(part);
      formats.push(format);
      return `(.{${format.length}})`;
    })
    .join('');
  const values = new RegExp(`^${regex}$`).exec(name)?.slice(1);
  if (values === undefined || formats.length === 0) return null;
  const time = DateTime.fromFormat(values.join(' '), formats.join(' '), { zone });
  if (!time.isValid) return null;
  const [first] = time.getPossibleOffsets().toSorted((a, b) => a.toMillis() - b.toMillis());
  return (first ?? time).toUTC().toISO();
}

/** @returns null where each row tells its own; undefined where the name does not fit the pattern */
export function momentOfFile(
  { moment, timeZone }: ResetSourceSettings,
  name: string,
  modifiedAt: Date,
): string | null | undefined {
  switch (moment.kind) {
    case 'column':
      return null;
    case 'name':
      return momentOfName(moment.pattern, name, timeZone) ?? undefined;
    case 'file-time':
      return new Date(modifiedAt.getTime() - moment.minutesBefore * 60_000).toISOString();
  }
}
