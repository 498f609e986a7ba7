import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ownerKey, startHubUnderTest, type HubUnderTest } from '../api/hub-under-test.js';
import { runHere } from '../command-line/run-cli.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { given, onHand } from './send.js';

let hub: HubUnderTest;
let dir: string;
beforeAll(async () => {
  dir = await temporaryDirectory();
  hub = await startHubUnderTest();
  await given(hub, 'MUG', 'CUP');
});
afterAll(async () => {
  await hub.close();
  await rm(dir, { recursive: true, force: true });
});

async function onhand(content: string | Uint8Array, ...args: string[]) {
  const file = path.join(dir, 'file.csv');
  await writeFile(file, content);
  return runHere(['import', file, ...args], { ONHAND_URL: hub.url, ONHAND_API_KEY: ownerKey });
}

describe('onhand import', () => {
  const counts = 'sku;location;quantity\r\nMUG;main;12\r\nCUP;main;3\r\n';

  it('with --dry-run shows what would change and applies nothing', async () => {
    const { code, out, err } = await onhand(counts, '--kind', 'counts', '--dry-run');
    expect({ code, err }).toMatchObject({ code: 0, err: expect.stringContaining('Nothing was applied') });
    expect(out).toContain('2 of 2 rows would be applied.');
    expect(out).toMatch(/sku "MUG" .*before 0 +after 12/);
    expect(await onHand(hub, 'MUG')).toBe(0);
  });

  it('applies a file and says what came of it', async () => {
    expect(await onhand(counts, '--kind', 'counts')).toMatchObject({
      code: 0,
      out: 'done: 2 applied, 0 unchanged, 0 refused\n',
    });
    expect(await onHand(hub, 'MUG')).toBe(12);
    const { code, out } = await onhand(counts, '--kind', 'counts', '--json');
    expect({ code, state: JSON.parse(out).state }).toEqual({ code: 0, state: 'done' });
  });

  it('names the rows that are wrong, and ends with 1', async () => {
    const wrong = await onhand('sku,location,quantity\nMUG,main,1\nNOPE,main,1\n', '--kind', 'counts');
    expect(wrong).toMatchObject({ code: 1, out: 'refused: 0 applied, 0 unchanged, 1 refused\n' });
    expect(wrong.err).toContain('Row 3, sku: There is no item with the SKU "NOPE"');
    const skipped = await onhand(
      'sku,location,quantity\nMUG,main,9\nNOPE,main,1\n',
      '--kind',
      'counts',
      '--on-error',
      'skip',
    );
    expect(skipped).toMatchObject({ code: 1, out: 'done: 1 applied, 0 unchanged, 1 refused\n' });
    expect(await onHand(hub, 'MUG')).toBe(9);
  });

  it('says in a sentence what is wrong with a file or a line', async () => {
    const latin = Buffer.from('sku,title\nA,Stra\xdfe\n', 'latin1');
    expect(await onhand(latin, '--kind', 'items')).toMatchObject({
      code: 1,
      err: expect.stringContaining('not UTF-8'),
    });
    expect(await onhand(latin, '--kind', 'items', '--latin1')).toMatchObject({ code: 0 });
    expect(await onhand('sku\n', '--kind', 'items')).toMatchObject({
      code: 1,
      err: expect.stringContaining('"title" or "barcode" or "shopifyProductId" or "tags" or "active" is missing'),
    });
    expect(await onhand(counts, '--kind', 'things')).toMatchObject({ code: 2 });
    const access = { ONHAND_URL: hub.url, ONHAND_API_KEY: ownerKey };
    expect(await runHere(['import', '/nowhere/x.csv', '--kind', 'items'], access)).toMatchObject({ code: 2 });
    const nobody = await runHere(['import', path.join(dir, 'file.csv'), '--kind', 'items'], {
      ...access,
      ONHAND_URL: 'http://127.0.0.1:9',
    });
    expect(nobody).toMatchObject({ code: 3, err: expect.stringContaining('--idempotency-key') });
  });
});
