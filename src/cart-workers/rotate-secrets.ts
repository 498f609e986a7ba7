import { and, asc, gt, ne } from 'drizzle-orm';
import type { Database } from '../database.js';
import { keyIdOf, open, seal, type EncryptionKeys } from './cart-secrets.js';
import { cartSecrets } from './lanes.table.js';

export type Rotation =
  /** Nothing was changed: these carts' secrets open with none of the keys. */
  | { readonly kind: 'unreadable'; readonly cartIds: readonly string[] }
  /** `moved` of them are under the current key now (or would be); `left` are not, because somebody wrote them meanwhile. */
  | { readonly kind: 'rotated'; readonly moved: number; readonly left: number };

/**
 * Seals every secret that is under a previous key anew with the current one, while processes that have both go on. Each
 * is opened before the first is changed, so a wrong key changes nothing. Resumable: what was moved stays moved. A secret
 * that somebody enters at the same moment wins.
 */
export async function rotateSecrets(
  database: Database,
  keys: EncryptionKeys,
  { dryRun, onBatch = () => undefined }: { readonly dryRun: boolean; readonly onBatch?: (moved: number) => void },
): Promise<Rotation> {
  const unreadable: string[] = [];
  let readable = 0;
  for await (const rows of oldSecrets(database, keys)) {
    for (const row of rows) {
      if (opened(keys, row) === null) unreadable.push(row.cartId);
      else readable += 1;
    }
  }
  if (unreadable.length > 0) return { kind: 'unreadable', cartIds: unreadable };
  if (dryRun) return { kind: 'rotated', moved: readable, left: 0 };
  let moved = 0;
  for await (const rows of oldSecrets(database, keys)) {
    moved += await move(database, keys, rows);
    onBatch(moved);
  }
  const left = await database.orm.$count(cartSecrets, ne(cartSecrets.keyId, keyIdOf(keys.current)));
  return { kind: 'rotated', moved, left };
}

/** Rows of one statement, and of one transaction. */
const BATCH = 100;

type SecretRow = Pick<typeof cartSecrets.$inferSelect, 'cartId' | 'keyId' | 'ciphertext'>;

/** What is not under the current key, in batches by cart. */
async function* oldSecrets(database: Database, { current }: EncryptionKeys): AsyncGenerator<SecretRow[]> {
  for (let after = ''; ;) {
    const rows = await database.orm
      .select({ cartId: cartSecrets.cartId, keyId: cartSecrets.keyId, ciphertext: cartSecrets.ciphertext })
      .from(cartSecrets)
      .where(and(ne(cartSecrets.keyId, keyIdOf(current)), gt(cartSecrets.cartId, after)))
      .orderBy(asc(cartSecrets.cartId))
      .limit(BATCH);
    if (rows.length > 0) yield rows;
    if (rows.length < BATCH) return;
    after = rows.at(-1)!.cartId;
  }
}

/** A row that does not authenticate is as unreadable as one under a key that nobody has. */
function opened(keys: EncryptionKeys, row: SecretRow): string | null {
  try {
    return open(keys, row);
  } catch {
    return null;
  }
}

/** Compare-and-set by the ciphertext; when it was entered stays, as that is not what happens here. */
async function move(database: Database, keys: EncryptionKeys, rows: readonly SecretRow[]): Promise<number> {
  const sealed = rows.flatMap((row) => {
    const secret = opened(keys, row);
    return secret === null ? [] : [{ row, next: seal(keys.current, row.cartId, secret) }];
  });
  const result = await database.pool.query(
    `UPDATE cart_secrets s SET key_id = $4, ciphertext = n.next
       FROM unnest($1::text[], $2::bytea[], $3::bytea[]) AS n (cart_id, old, next)
      WHERE s.cart_id = n.cart_id AND s.ciphertext = n.old`,
    [
      sealed.map(({ row }) => row.cartId),
      sealed.map(({ row }) => row.ciphertext),
      sealed.map(({ next }) => next.ciphertext),
      keyIdOf(keys.current),
    ],
  );
  return result.rowCount ?? 0;
}
