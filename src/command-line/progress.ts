import { formatDuration, formatNumber } from './format.js';
import type { Terminal } from './terminal.js';

const WIDTH = 24;
/** Where nobody watches, a line now and then is enough for a log. */
const LINE_EVERY_MS = 5_000;

/** `total` null: not known yet. Pure. */
export function progressLine(what: string, done: number, total: number | null, elapsedMs: number): string {
  const perSecond = elapsedMs > 0 ? (done * 1_000) / elapsedMs : 0;
  const rate = done > 0 && elapsedMs >= 500 ? `  ${formatNumber(perSecond)}/s` : '';
  if (total === null) return `${what}  ${formatNumber(done)}${rate}`;
  const share = total === 0 ? 1 : Math.min(1, done / total);
  const filled = Math.round(share * WIDTH);
  const left = perSecond > 0 && done < total ? `  ${formatDuration(((total - done) * 1_000) / perSecond)} left` : '';
  const bar = '#'.repeat(filled) + '.'.repeat(WIDTH - filled);
  return `${what}  [${bar}]  ${formatNumber(done)}/${formatNumber(total)}${rate}${left}`;
}

export interface Progress {
  tell(done: number, total: number | null): void;
  end(): void;
}

/** A line that is drawn over on a terminal, and lines at intervals elsewhere; always on stderr. */
export function startProgress(terminal: Terminal, what: string, now: () => number = Date.now): Progress {
  const startedAt = now();
  let lastLineAt = startedAt;
  let drawn = false;
  return {
    tell: (done, total) => {
      const line = progressLine(what, done, total, now() - startedAt);
      if (terminal.stderr.isTTY === true) {
        terminal.stderr.write(`\r\u001b[2K${line}`);
        drawn = true;
      } else if (now() - lastLineAt >= LINE_EVERY_MS) {
        lastLineAt = now();
        terminal.note(line);
      }
    },
    end: () => {
      if (drawn) terminal.stderr.write('\n');
      drawn = false;
    },
  };
}
