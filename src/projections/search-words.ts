/**
 * What a search looks for, and what an item is found by, made alike. Pure, and done here and not in SQL, so that it does
 * not depend on the locale a database was made with.
 */

/** Words of a title beyond these are not looked for; a title has up to 500 characters. */
export const wordsMax = 40;
/** Nobody types more of a word. */
export const wordLengthMax = 60;

/** Small letters without accents, so that `cafe` finds `Café`. */
export const fold = (text: string): string =>
  text
    .normalize('NFKD')
    .replace(/\p{M}+/gu, '')
    .toLowerCase()
    .normalize('NFC');

/** Runs of letters and digits, each once. */
export function wordsOf(text: string): string[] {
  const words = fold(text).match(/[\p{L}\p{N}]+/gu) ?? [];
  return [...new Set(words.map((word) => Array.from(word).slice(0, wordLengthMax).join('')))].slice(0, wordsMax);
}

/** Text behind everything that begins with this prefix, in byte order. */
export const afterPrefix = (prefix: string): string => `${prefix}\u{10ffff}`;
