import { UsageError } from './exit-codes.js';

/** How numbers and times are written for people, and read from them. Pure. */

export const none = '-';

/** 1234567 → 1,234,567, whatever the machine's language: what is copied from a screen must mean the same elsewhere. */
export function formatNumber(value: number): string {
  return (Object.is(value, -0) ? 0 : value).toLocaleString('en-US', { maximumFractionDigits: 1 });
}

/** With its sign: +5, -5, 0. */
export function formatDelta(value: number): string {
  return value > 0 ? `+${formatNumber(value)}` : formatNumber(value);
}

/** Milliseconds → 12 ms, 1.2 s, 45 s, 3 min 5 s, 2 h 10 min, 4 d 3 h. */
export function formatDuration(ms: number): string {
  if (!Number.isFinite(ms)) return none;
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 9_950) return `${(ms / 1_000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return two(seconds, 60, 'min', 's');
  const minutes = Math.round(seconds / 60);
  if (minutes < 24 * 60) return two(minutes, 60, 'h', 'min');
  return two(Math.round(minutes / 60), 24, 'd', 'h');
}

function two(value: number, base: number, large: string, small: string): string {
  const rest = value % base;
  return `${Math.floor(value / base)} ${large}${rest === 0 ? '' : ` ${rest} ${small}`}`;
}

/** UTC to the second, in a form that every option which takes a time reads again. */
export function formatTime(iso: string | null | undefined): string {
  return iso === null || iso === undefined ? none : `${iso.slice(0, 10)} ${iso.slice(11, 19)}Z`;
}

export function formatAge(iso: string | null, now: number): string {
  return iso === null ? none : formatDuration(now - Date.parse(iso));
}

export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const step = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${formatNumber(bytes / 1_000 ** step)} ${units[step]}`;
}

/** @throws UsageError when it is not a whole number; the hub decides whether it is in range */
export function parseWhole(text: string, what: string): number {
  if (!/^[+-]?\d{1,15}$/.test(text))
    throw new UsageError(`${what} must be a whole number such as 5; "${text}" is not.`);
  return Number(text);
}

/** Seconds, fractions allowed, as milliseconds. @throws UsageError */
export function parseSeconds(text: string, what: string): number {
  if (!/^\d{1,7}(\.\d{1,3})?$/.test(text))
    throw new UsageError(`${what} must be a number of seconds; "${text}" is not.`);
  return Math.round(Number(text) * 1_000);
}

const iso = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)? ?(?:Z|[+-]\d\d:?\d\d)?)?$/i;

/**
 * A date, or a date and time, as UTC. Without an offset it is this machine's time, as a person at a desk means it.
 * @throws UsageError
 */
export function parseTime(text: string, what: string): string {
  const trimmed = text.trim();
  const written = trimmed.length === 10 ? `${trimmed}T00:00:00` : trimmed.replace(/^(.{10}) /, '$1T').replace(' ', '');
  const time = iso.test(trimmed) && isDay(trimmed.slice(0, 10)) ? Date.parse(written) : Number.NaN;
  if (Number.isNaN(time)) {
    throw new UsageError(`${what} must be a time such as 2026-03-01T12:00:00Z or 2026-03-01; "${text}" is not.`);
  }
  return new Date(time).toISOString();
}

/** Date.parse takes the 30th of February for the 2nd of March. */
function isDay(day: string): boolean {
  const time = Date.parse(`${day}T00:00:00Z`);
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(day);
}

/** `MUG=5` → the SKU and the quantity; a SKU may itself contain "=". @throws UsageError */
export function parseSkuQuantity(text: string): { sku: string; quantity: number } {
  const [sku, quantity] = splitLast(text, 'MUG=5');
  return { sku, quantity: parseWhole(quantity, `The quantity of "${sku}"`) };
}

/** Splits at the last "=". @throws UsageError */
export function splitLast(text: string, example: string): [string, string] {
  const at = text.lastIndexOf('=');
  if (at < 1 || at === text.length - 1) throw new UsageError(`"${text}" should look like ${example}.`);
  return [text.slice(0, at), text.slice(at + 1)];
}

const referenceKinds = ['purchase-order', 'order', 'transfer', 'count', 'file', 'other'];

/** `purchase-order:PO-7` or `purchase-order:PO-7:1` (with its line). @throws UsageError */
export function parseReference(text: string): { kind: string; number: string; line?: string } {
  const [kind = '', number = '', ...line] = text.split(':');
  if (!referenceKinds.includes(kind) || number === '') {
    throw new UsageError(
      `--reference should look like purchase-order:PO-7 or purchase-order:PO-7:1 (its line), with one of ${referenceKinds.join(', ')}; "${text}" does not.`,
    );
  }
  return { kind, number, ...(line.length > 0 && { line: line.join(':') }) };
}
