import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { problemBody, problems, type ProblemCode } from '../src/modules/http/problem.js';

it('docs/problems.md has a section for every type of problem, with its status and title, and for no other', () => {
  const page = readFileSync(new URL('../docs/problems.md', import.meta.url), 'utf8');
  const sections = new Map(
    page
      .split(/^## /m)
      .slice(1)
      .map((section) => [section.slice(0, section.indexOf('\n')), section] as const),
  );
  expect([...sections.keys()].sort()).toEqual(Object.keys(problems).sort());
  for (const [code, { status, title }] of Object.entries(problems)) {
    expect(sections.get(code)).toContain(`${status}, *${title}.* `);
    expect(
      problemBody(code as ProblemCode, '')
        .type.split(':')
        .at(-1),
    ).toBe(code);
  }
});
