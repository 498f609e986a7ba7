import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { cartTypes } from '../../src/cart-workers/connectors/index.js';
import { cartMatrix, facts } from './cart-matrix.js';

const root = new URL('../../', import.meta.url);
const proofs = facts.map(({ what, proof }) => [what, proof] as const);

describe('the shopping cart matrix', () => {
  it('says what the connectors declare today', async () => {
    const suites = await readFile(new URL('test/contract/connector-contract.int.spec.ts', root), 'utf8');
    const underContract = new Set(
      [...suites.matchAll(/^\s*connectorContract\('[\w-]+', connectorFor\('([\w-]+)'/gm)].map(([, type]) => type!),
    );
    await expect(cartMatrix(cartTypes(), underContract)).toMatchFileSnapshot('../../docs/carts/matrix.md');
  });

  it.each(proofs)('%s is tested where it says', async (_what, { file, test }) => {
    expect(existsSync(new URL(file, root))).toBe(true);
    expect(await readFile(new URL(file, root), 'utf8')).toContain(test);
  });

  it('shows another value as soon as a connector declares one', () => {
    const [first] = cartTypes();
    const changed = { ...first!, capabilities: { ...first!.capabilities, rowsPerSetMax: 12_345 } };
    expect(cartMatrix([changed], new Set())).toMatch(/\| Absolute numbers per call \| 12345 \|/);
  });
});
