import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';

it('troubleshooting starts where merchants were always sent: the first record, its attempts, its last response', async () => {
  const text = await readFile(new URL('../../docs/troubleshooting.md', import.meta.url), 'utf8');
  const [title, heading, first] = text.split(/\n{2,}/);
  expect([title, heading]).toEqual([
    '# Troubleshooting',
    '## If you sense that adjustments are not being made in your shop',
  ]);
  expect(first).toMatch(/first record of its Web Stack: how often it was tried, and what the shop\s+answered/);
  expect(text.indexOf('"attempts"')).toBeLessThan(text.indexOf('| you see |'));
  expect(text.indexOf('"lastResponse"')).toBeLessThan(text.indexOf('| you see |'));
});
