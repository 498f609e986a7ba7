import { describe, expect, it } from 'vitest';
import { afterPrefix, fold, wordLengthMax, wordsMax, wordsOf } from '../../src/projections/search-words.js';

describe('what a search looks for', () => {
  it('has neither capitals nor accents nor wide letters', () => {
    expect(fold('Café ＡＢＣ Größe ﬁne')).toBe('cafe abc große fine');
    expect(wordsOf('Mug, dark-blue (0,5 l) mug')).toEqual(['mug', 'dark', 'blue', '0', '5', 'l']);
    expect(wordsOf('茶碗 Ёлка %_')).toEqual(['茶碗', 'елка']);
    expect(wordsOf('%_ "\u0301')).toEqual([]);
  });

  it('has a limit of words and of letters', () => {
    expect(wordsOf(Array.from({ length: 100 }, (_, at) => `w${at}`).join(' '))).toHaveLength(wordsMax);
    expect(wordsOf('x'.repeat(500))).toEqual(['x'.repeat(wordLengthMax)]);
    expect(Array.from(wordsOf('𝒳𐐷'.repeat(90))[0] ?? '')).toHaveLength(wordLengthMax);
  });

  it('ends behind everything that begins so, in byte order', () => {
    const bytes = (text: string) => Buffer.from(text);
    for (const text of ['mug', 'mugs', 'mug\u{ffff}', 'mug\u{10fffe}z'])
      expect(Buffer.compare(bytes(text), bytes(afterPrefix('mug')))).toBe(-1);
    expect(Buffer.compare(bytes('muh'), bytes(afterPrefix('mug')))).toBe(1);
  });
});
