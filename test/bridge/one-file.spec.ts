import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { builtBridges } from '../../bridge/build.mjs';

/** What came to PHP after 5.6: a merchant's server may not know it. */
const TOO_NEW: readonly [string, RegExp][] = [
  ['??', /\?\?/],
  ['<=>', /<=>/],
  ['?->', /\?->/],
  ['fn', /\bfn\s*\(/],
  ['match', /\bmatch\s*\(/],
  ['declared types of parameters', /function\s+\w*\s*\([^)]*\b(?:int|string|bool|float|array|\?\w+)\s+\$/],
  ['return types', /\)\s*:\s*\??\w+\s*\{/],
  [
    'declared types of properties',
    /\b(?:public|private|protected)\s+(?:static\s+)?\??(?:int|string|bool|array|float)\s+\$/,
  ],
  ['several exceptions in one catch', /catch\s*\([^)]*\|/],
];

describe.each(Object.entries(builtBridges()))('%s', (file, text) => {
  const stands = readFileSync(new URL(`../../bridge/${file}`, import.meta.url), 'utf8');

  it('is what its parts make: run `node bridge/build.mjs`', () => expect(stands).toBe(text));

  it('uses nothing that PHP 5.6 does not know', () => {
    const code = text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"/g, "''");
    const found = TOO_NEW.filter(([, pattern]) => pattern.test(code));
    expect(found.map(([name]) => name)).toEqual([]);
  });

  it('is one file with its settings in one block before anything else', () => {
    expect(text.match(/<\?php/g)).toHaveLength(1);
    expect(text.indexOf('$onhand_settings = array(')).toBeLessThan(text.indexOf('function '));
    expect(text).not.toMatch(/whsec_[A-Za-z0-9+/]{8}/);
  });
});
