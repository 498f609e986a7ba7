import type { Readable, Writable } from 'node:stream';
import picocolors from 'picocolors';
import { tableLines, type Column } from './table.js';

type Screen = Writable & { readonly isTTY?: boolean };

/** Where a command speaks: results to stdout, everything about them to stderr, so that a pipe carries results only. */
export interface Terminal {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stderr: Screen;
  readonly colors: Colors;
  /** Results, line by line. */
  out(...lines: string[]): void;
  /** What a person should know besides. */
  note(...lines: string[]): void;
  table<Row>(columns: readonly Column<Row>[], rows: readonly Row[], empty: string): void;
}

export type Colors = ReturnType<typeof picocolors.createColors>;

export function openTerminal(options: {
  readonly stdin: Terminal['stdin'];
  readonly stdout: Screen;
  readonly stderr: Screen;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly color?: boolean;
}): Terminal {
  const { stdin, stdout, stderr } = options;
  const colors = picocolors.createColors(options.color !== false && wantsColor(options.env, stdout.isTTY === true));
  const out = (...lines: string[]) => void stdout.write(lines.map((line) => `${line}\n`).join(''));
  return {
    stdin,
    stderr,
    colors,
    out,
    note: (...lines) => void stderr.write(lines.map((line) => `${line}\n`).join('')),
    table: (columns, rows, empty) => {
      if (rows.length === 0) return out(empty);
      const [titles = '', ...lines] = tableLines(columns, rows);
      out(colors.bold(titles), ...lines);
    },
  };
}

/** https://no-color.org: set and not empty means no colour, whatever else is said. */
export function wantsColor(env: Readonly<Record<string, string | undefined>>, isTTY: boolean): boolean {
  if ((env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb') return false;
  if ((env['FORCE_COLOR'] ?? '') !== '') return env['FORCE_COLOR'] !== '0';
  return isTTY;
}
