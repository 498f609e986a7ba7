import { randomBytes } from 'node:crypto';
import { readFile, readdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CartSecrets, type EncryptionKeys } from '../src/cart-workers/cart-secrets.js';
import { rotateSecrets } from '../src/cart-workers/rotate-secrets.js';
import { beginKeyChange, encryptionKeys, endKeyChange } from '../src/modules/start/encryption-key.js';
import { createTestDatabase, type TestDatabase } from './support/database.js';
import { temporaryDirectory } from './support/temporary-directory.js';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.close());
beforeEach(async () => {
  await database.pool.query('TRUNCATE cart_secrets');
});

const [oldKey, newKey, otherKey] = [randomBytes(32), randomBytes(32), randomBytes(32)];
const under = (current: Buffer, ...previous: Buffer[]) => new CartSecrets(database, { current, previous });
const both: EncryptionKeys = { current: newKey, previous: [oldKey] };
const secretOf = (at: number) => `secret ${at} ü 😀`;
const cartOf = (at: number) => `cart-${String(at).padStart(3, '0')}`;

async function put(count: number, secrets = under(oldKey)): Promise<void> {
  for (let at = 0; at < count; at += 1) await secrets.put(cartOf(at), secretOf(at));
}
async function rows() {
  const { rows: all } = await database.pool.query<{ row: string }>(
    'SELECT t::text AS row FROM cart_secrets t ORDER BY cart_id',
  );
  return all.map(({ row }) => row);
}

describe('a change of the encryption key', () => {
  it('moves every secret, and says what it would move before', async () => {
    await put(250);
    const before = await rows();
    expect(await rotateSecrets(database, both, { dryRun: true })).toEqual({ kind: 'rotated', moved: 250, left: 0 });
    expect(await rows()).toEqual(before);
    expect(await rotateSecrets(database, both, { dryRun: false })).toEqual({ kind: 'rotated', moved: 250, left: 0 });
    for (const at of [0, 99, 100, 249]) expect(await under(newKey).get(cartOf(at))).toBe(secretOf(at));
    expect(await under(newKey).survey()).toEqual({ total: 250, underPreviousKey: 0, unreadable: [] });
    expect(await rotateSecrets(database, both, { dryRun: false })).toEqual({ kind: 'rotated', moved: 0, left: 0 });
    expect((await rows()).join()).not.toContain('secret');
  });

  it('that ends in the middle leaves every secret readable, and goes on where it was', async () => {
    await put(250);
    const crash = rotateSecrets(database, both, {
      dryRun: false,
      onBatch: () => {
        throw new Error('The process ends here');
      },
    });
    await expect(crash).rejects.toThrow('ends here');
    const running = under(newKey, oldKey);
    expect(await running.survey()).toEqual({ total: 250, underPreviousKey: 150, unreadable: [] });
    for (let at = 0; at < 250; at += 1) expect(await running.get(cartOf(at))).toBe(secretOf(at));
    expect(await rotateSecrets(database, both, { dryRun: false })).toEqual({ kind: 'rotated', moved: 150, left: 0 });
  });

  it('with a wrong old key changes nothing and names the carts', async () => {
    await put(3);
    await under(otherKey).put('cart-other', 'x');
    const before = await rows();
    expect(await rotateSecrets(database, both, { dryRun: false })).toEqual({
      kind: 'unreadable',
      cartIds: ['cart-other'],
    });
    expect(await rows()).toEqual(before);
    expect(await under(newKey, oldKey).survey()).toEqual({ total: 4, underPreviousKey: 3, unreadable: ['cart-other'] });
  });

  it('does not take a row that was copied from another cart for one of its own', async () => {
    await put(2);
    await database.pool.query(
      `UPDATE cart_secrets a SET ciphertext = b.ciphertext FROM cart_secrets b WHERE a.cart_id = $1 AND b.cart_id = $2`,
      [cartOf(0), cartOf(1)],
    );
    const before = await rows();
    expect(await rotateSecrets(database, both, { dryRun: false })).toEqual({
      kind: 'unreadable',
      cartIds: [cartOf(0)],
    });
    expect(await rows()).toEqual(before);
  });

  it('does not undo a secret that a process with the old key enters meanwhile', async () => {
    await put(150);
    let entered: Promise<void> | undefined;
    const outcome = await rotateSecrets(database, both, {
      dryRun: false,
      onBatch: () => {
        entered ??= under(oldKey).put(cartOf(0), 'new password');
      },
    });
    await entered;
    expect(outcome.kind).toBe('rotated');
    expect(await under(newKey, oldKey).get(cartOf(0))).toBe('new password');
    expect(await under(newKey, oldKey).survey()).toMatchObject({ underPreviousKey: 1 });
    expect(await rotateSecrets(database, both, { dryRun: false })).toMatchObject({ moved: 1, left: 0 });
    expect(await under(newKey).get(cartOf(0))).toBe('new password');
  });

  it('is read by a process that has both keys at any time, and by none that has another', async () => {
    await put(1);
    for (const secrets of [under(oldKey), under(oldKey, newKey), under(newKey, oldKey)])
      expect(await secrets.get(cartOf(0))).toBe(secretOf(0));
    const error = await under(otherKey)
      .get(cartOf(0))
      .catch((caught: Error) => caught.message);
    expect(error).toMatch(/ONHAND_PREVIOUS_ENCRYPTION_KEYS/);
    expect(error).not.toMatch(/secret 0/);
    expect(error).not.toContain(oldKey.toString('base64'));
  });
});

describe('the key in the data directory', () => {
  const without = (dataDir: string) => ({ dataDir, encryptionKey: undefined, previousEncryptionKeys: [] });

  it('is changed for a new one, with the old one beside it until the end', async () => {
    const dir = await temporaryDirectory();
    const { current: first } = await encryptionKeys(without(dir));
    const begun = await beginKeyChange(dir);
    expect(begun.previous).toEqual([first]);
    expect(begun.current.equals(first)).toBe(false);
    expect(await encryptionKeys(without(dir))).toEqual(begun);
    expect(await beginKeyChange(dir)).toEqual(begun);
    for (const name of await readdir(dir)) expect((await stat(path.join(dir, name))).mode & 0o777).toBe(0o600);
    await endKeyChange(dir);
    expect(await encryptionKeys(without(dir))).toEqual({ current: begun.current, previous: [] });
    expect(await readdir(dir)).toEqual(['encryption-key']);
  });

  it('is changed after a crash between its two steps, when both files hold the old one', async () => {
    const dir = await temporaryDirectory();
    const { current: first } = await encryptionKeys(without(dir));
    await writeFile(path.join(dir, 'encryption-key.previous'), await readFile(path.join(dir, 'encryption-key')));
    const begun = await beginKeyChange(dir);
    expect(begun.previous).toEqual([first]);
    expect(begun.current.equals(first)).toBe(false);
  });

  it('that is no key is refused with a sentence, and not replaced', async () => {
    const dir = await temporaryDirectory();
    await writeFile(path.join(dir, 'encryption-key'), 'oops');
    await expect(encryptionKeys(without(dir))).rejects.toThrow(/is not an encryption key.*Put the original file back/);
    await expect(beginKeyChange(dir)).rejects.toThrow(/is not an encryption key/);
    expect(await readFile(path.join(dir, 'encryption-key'), 'utf8')).toBe('oops');
  });
});
