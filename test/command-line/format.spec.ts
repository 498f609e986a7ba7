import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/command-line/exit-codes.js';
import {
  formatAge,
  formatBytes,
  formatDelta,
  formatDuration,
  formatNumber,
  formatTime,
  parseReference,
  parseSeconds,
  parseSkuQuantity,
  parseTime,
  parseWhole,
} from '../../src/command-line/format.js';
import { progressLine } from '../../src/command-line/progress.js';
import { factLines, plainText, tableLines } from '../../src/command-line/table.js';
import { wantsColor } from '../../src/command-line/terminal.js';

describe('what people read', () => {
  it('numbers are grouped the same way on every machine, and differences have their sign', () => {
    expect([0, -0, 7, 1_234_567, -1_234].map(formatNumber)).toEqual(['0', '0', '7', '1,234,567', '-1,234']);
    expect([5, 0, -5, 1_000].map(formatDelta)).toEqual(['+5', '0', '-5', '+1,000']);
    expect([0, 999, 1_500, 2_000_000_000].map(formatBytes)).toEqual(['0 B', '999 B', '1.5 kB', '2 GB']);
  });

  it('durations have at most two units', () => {
    const cases: [number, string][] = [
      [0, '0 ms'],
      [-3, '0 ms'],
      [999, '999 ms'],
      [1_000, '1.0 s'],
      [9_949, '9.9 s'],
      [9_950, '10 s'],
      [59_499, '59 s'],
      [60_000, '1 min'],
      [185_000, '3 min 5 s'],
      [7_800_000, '2 h 10 min'],
      [99 * 3_600_000, '4 d 3 h'],
      [Number.NaN, '-'],
    ];
    expect(cases.map(([ms]) => formatDuration(ms))).toEqual(cases.map(([, text]) => text));
  });

  it('times are UTC to the second, and nothing is a dash', () => {
    expect(formatTime('2026-03-01T12:00:00.123Z')).toBe('2026-03-01 12:00:00Z');
    expect([formatTime(null), formatTime(undefined), formatAge(null, 0)]).toEqual(['-', '-', '-']);
    expect(formatAge('2026-03-01T12:00:00.000Z', Date.parse('2026-03-01T12:00:45Z'))).toBe('45 s');
  });

  it('a table is as wide as it must be, with numbers at the right and wide letters counted as two', () => {
    const rows = [
      { sku: 'MUG', onHand: 1_200, title: 'Mug' },
      { sku: '茶碗', onHand: -3, title: 'evil\u001b[31m\nname' },
      { sku: 'EMPTY', onHand: 0, title: '' },
    ];
    const lines = tableLines<(typeof rows)[number]>(
      [
        { title: 'SKU', of: (row) => row.sku },
        { title: 'ON HAND', of: (row) => formatNumber(row.onHand), right: true },
        { title: 'TITLE', of: (row) => row.title },
      ],
      rows,
    );
    expect(lines).toEqual([
      'SKU    ON HAND  TITLE',
      'MUG      1,200  Mug',
      '茶碗        -3  evil [31m name',
      'EMPTY        0  -',
    ]);
    expect(
      factLines([
        ['Cart', 'main'],
        ['User', null],
      ]),
    ).toEqual(['Cart  main', 'User  -']);
    expect(plainText('a\u0007\u009bb\u2028c')).toBe('a b c');
  });

  it('a progress line shows done, total, rate and time left', () => {
    expect(progressLine('Sending', 0, null, 0)).toBe('Sending  0');
    expect(progressLine('Sending', 50, 200, 1_000)).toBe(
      'Sending  [######..................]  50/200  50/s  3.0 s left',
    );
    expect(progressLine('Sending', 200, 200, 4_000)).toBe('Sending  [########################]  200/200  50/s');
    expect(progressLine('Sending', 0, 0, 10)).toContain('0/0');
  });

  it('colour is for terminals, and NO_COLOR is respected', () => {
    expect(wantsColor({}, true)).toBe(true);
    expect(wantsColor({}, false)).toBe(false);
    expect(wantsColor({ NO_COLOR: '1', FORCE_COLOR: '1' }, true)).toBe(false);
    expect(wantsColor({ NO_COLOR: '' }, true)).toBe(true);
    expect(wantsColor({ FORCE_COLOR: '1' }, false)).toBe(true);
    expect(wantsColor({ TERM: 'dumb' }, true)).toBe(false);
  });
});

describe('what people write', () => {
  it('whole numbers and seconds are taken, anything else is refused in a sentence', () => {
    expect(['5', '+5', '-3', '007'].map((text) => parseWhole(text, 'It'))).toEqual([5, 5, -3, 7]);
    for (const text of ['', '1.5', '1e3', 'five', '0x10', '9'.repeat(16), '5 ']) {
      expect(() => parseWhole(text, 'The quantity')).toThrow(UsageError);
    }
    expect(['20', '0.5'].map((text) => parseSeconds(text, 'It'))).toEqual([20_000, 500]);
    for (const text of ['-1', 'soon', '']) expect(() => parseSeconds(text, '--timeout')).toThrow('--timeout');
  });

  it('a time needs no offset, and what is shown can be given again', () => {
    expect(parseTime('2026-03-01T12:00:00Z', 'It')).toBe('2026-03-01T12:00:00.000Z');
    expect(parseTime('2026-03-01 12:00:00Z', 'It')).toBe('2026-03-01T12:00:00.000Z');
    expect(parseTime('2026-03-01T12:00+02:00', 'It')).toBe('2026-03-01T10:00:00.000Z');
    expect(() => parseTime('2026-02-30', 'It')).toThrow('It must be a time');
    expect(parseTime('2026-03-01', 'It')).toBe(new Date('2026-03-01T00:00:00').toISOString());
    for (const text of ['yesterday', '', '1', '2026-13-01', '03/01/2026']) {
      expect(() => parseTime(text, '--at')).toThrow('--at must be a time such as');
    }
  });

  it('rows and papers are split where a SKU or number may hold the same sign', () => {
    expect(parseSkuQuantity('A=B=5')).toEqual({ sku: 'A=B', quantity: 5 });
    for (const text of ['MUG', '=5', 'MUG=', 'MUG=x']) expect(() => parseSkuQuantity(text)).toThrow(UsageError);
    expect(parseReference('purchase-order:PO-7')).toEqual({ kind: 'purchase-order', number: 'PO-7' });
    expect(parseReference('order:7:1:2')).toEqual({ kind: 'order', number: '7', line: '1:2' });
    for (const text of ['PO-7', 'purchase-order:', 'letter:1'])
      expect(() => parseReference(text)).toThrow('--reference');
  });
});
