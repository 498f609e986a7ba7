// What a person reads while the demo runs: short aligned lines, colour only on a terminal.

const CODES = { dim: 2, bold: 1, red: 31, green: 32, yellow: 33, cyan: 36 };

/** @typedef {ReturnType<typeof createScreen>} Screen */

/** @param {NodeJS.WriteStream} stream stdout, or stderr where stdout belongs to the JSON object */
export function createScreen(stream) {
  const colours = stream.isTTY && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb';
  const paint = (/** @type {keyof typeof CODES} */ colour, /** @type {string} */ text) =>
    colours ? `\u001b[${CODES[colour]}m${text}\u001b[0m` : text;
  let progressShown = false;
  const clear = () => {
    if (progressShown) stream.write('\r\u001b[K');
    progressShown = false;
  };
  const line = (text = '') => {
    clear();
    stream.write(`${text}\n`);
  };
  return {
    paint,
    line,
    heading: (/** @type {string} */ text) => line(`\n${paint('bold', text)}`),
    /** A line with the time of day in front. */
    event: (/** @type {string} */ text, /** @type {number} */ at = Date.now()) =>
      line(`${paint('dim', clock(at))}  ${text}`),
    /** A line that the next one replaces; on something that is not a terminal nothing at all. */
    progress: (/** @type {string} */ text) => {
      if (!stream.isTTY) return;
      stream.write(`\r\u001b[K${paint('dim', text)}`);
      progressShown = true;
    },
    table: (/** @type {(string | number)[][]} */ rows, indent = '  ') => {
      for (const row of alignRows(rows)) line(`${indent}${row}`);
    },
  };
}

/** Columns of equal width: numbers to the right, words to the left. The first row is the head. */
export function alignRows(/** @type {(string | number)[][]} */ rows) {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => width(row[column]))));
  const isNumber = widths.map((_, column) => rows.slice(1).every((row) => typeof row[column] === 'number'));
  return rows.map((row) =>
    row
      .map((cell, column) => {
        const pad = ' '.repeat((widths[column] ?? 0) - width(cell));
        return isNumber[column] ? `${pad}${cell}` : `${cell}${pad}`;
      })
      .join('   ')
      .trimEnd(),
  );
}

export function clock(/** @type {number} */ at) {
  return new Date(at).toTimeString().slice(0, 8);
}

export const seconds = (/** @type {number} */ ms) => `${(ms / 1000).toFixed(1)} s`;
export const plural = (/** @type {number} */ count, /** @type {string} */ one, many = `${one}s`) =>
  `${count} ${count === 1 ? one : many}`;

function width(/** @type {string | number | undefined} */ cell) {
  // Colours take no room.
  // oxlint-disable-next-line no-control-regex
  return String(cell ?? '').replaceAll(/\u001b\[\d+m/g, '').length;
}
