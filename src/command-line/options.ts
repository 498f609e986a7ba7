import { Option, type Command } from 'commander';
import type { Session } from './session.js';

/** Options that several commands share, described once. */

export function changes(command: Command): Command {
  return command
    .option('--dry-run', 'show the request and what is known now; send nothing')
    .option('--idempotency-key <key>', 'the request’s name: sent again under the same, it counts once');
}

export function dangerous(command: Command): Command {
  return changes(command).option('-y, --yes', 'do not ask');
}

export interface PageOptions {
  readonly limit: string;
  readonly cursor?: string;
}

export function pages(command: Command): Command {
  return command
    .option('--limit <number>', 'rows of one page, up to 200', '50')
    .option('--cursor <cursor>', 'go on where a page ended');
}

export const pageQuery = ({ limit, cursor }: PageOptions) => ({ limit, cursor });

/** Tells how to go on, beside the table. */
export function moreHint(session: Session, nextCursor: string | null): void {
  if (nextCursor !== null) session.terminal.note(`There is more: --cursor ${nextCursor}`);
}

export function examples(command: Command, ...lines: string[]): Command {
  const title = lines.length === 1 ? 'Example' : 'Examples';
  return command.addHelpText('after', `\n${title}:\n${lines.map((line) => `  $ onhand ${line}`).join('\n')}`);
}

export function choice(flags: string, description: string, choices: readonly string[], preset?: string): Option {
  const option = new Option(flags, description).choices(choices);
  return preset === undefined ? option : option.default(preset);
}

/** A SKU or a key may hold anything that means something else in a path. */
export const segment = encodeURIComponent;
