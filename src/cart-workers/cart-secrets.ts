import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { eq, sql } from 'drizzle-orm';
import type { Database } from '../database.js';
import { cartSecrets } from './lanes.table.js';

/** Keys of 32 bytes. Everything is written under the current one; while a key is changed, older ones still open. */
export interface EncryptionKeys {
  readonly current: Buffer;
  readonly previous: readonly Buffer[];
}

/**
 * Carts' passwords and signing secrets: AES-256-GCM under the installation's key, bound to their cart so that a row
 * copied to another cart does not open. Write-only from outside; read only to make a call.
 */
export class CartSecrets {
  constructor(
    private readonly database: Database,
    private readonly keys: EncryptionKeys,
  ) {}

  async put(cartId: string, secret: string): Promise<void> {
    const values = { ...seal(this.keys.current, cartId, secret), updatedAt: sql`now()` };
    await this.database.orm
      .insert(cartSecrets)
      .values({ cartId, ...values })
      .onConflictDoUpdate({ target: cartSecrets.cartId, set: values });
  }

  /** @returns '' when none was ever put */
  async get(cartId: string): Promise<string> {
    const [row] = await this.database.orm.select().from(cartSecrets).where(eq(cartSecrets.cartId, cartId));
    return row === undefined ? '' : this.reveal(row);
  }

  /** Opens what was read together with something else. */
  reveal(row: SealedSecret & { readonly cartId: string }): string {
    const secret = open(this.keys, row);
    if (secret !== null) return secret;
    throw new Error(
      `The secret of cart ${row.cartId} was encrypted with another key (${row.keyId}, this is ${keyIdOf(this.keys.current)}). Start with the right ONHAND_ENCRYPTION_KEY, name the old one in ONHAND_PREVIOUS_ENCRYPTION_KEYS, or enter the secret again.`,
    );
  }

  /** How many secrets are under which key. Looks at the names of the keys only; nothing is decrypted. */
  async survey(): Promise<SecretsSurvey> {
    const rows = await this.database.orm
      .select({ cartId: cartSecrets.cartId, keyId: cartSecrets.keyId })
      .from(cartSecrets);
    const current = keyIdOf(this.keys.current);
    const previous = this.keys.previous.map(keyIdOf);
    return {
      total: rows.length,
      underPreviousKey: rows.filter(({ keyId }) => keyId !== current && previous.includes(keyId)).length,
      unreadable: rows
        .filter(({ keyId }) => keyId !== current && !previous.includes(keyId))
        .map(({ cartId }) => cartId)
        .sort(),
    };
  }
}

export interface SecretsSurvey {
  readonly total: number;
  readonly underPreviousKey: number;
  /** Carts whose secret is under a key that this process does not have. */
  readonly unreadable: readonly string[];
}

export interface SealedSecret {
  readonly keyId: string;
  /** 12 bytes nonce, 16 bytes tag, the rest ciphertext. */
  readonly ciphertext: Buffer;
}

/** Names a key without telling anything about it, so that a rotation knows which rows are still old. */
export function keyIdOf(key: Buffer): string {
  return createHash('sha256').update('onhand key id').update(key).digest('hex').slice(0, 16);
}

export function seal(key: Buffer, cartId: string, secret: string): SealedSecret {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(cartId));
  const body = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
  return { keyId: keyIdOf(key), ciphertext: Buffer.concat([nonce, cipher.getAuthTag(), body]) };
}

/**
 * @returns null when none of the keys is the one it was sealed with
 * @throws Error when the row was changed, or copied from another cart
 */
export function open(
  { current, previous }: EncryptionKeys,
  { cartId, keyId, ciphertext }: SealedSecret & { readonly cartId: string },
): string | null {
  const key = [current, ...previous].find((candidate) => keyIdOf(candidate) === keyId);
  if (key === undefined) return null;
  const decipher = createDecipheriv('aes-256-gcm', key, ciphertext.subarray(0, 12)).setAAD(Buffer.from(cartId));
  decipher.setAuthTag(ciphertext.subarray(12, 28));
  return Buffer.concat([decipher.update(ciphertext.subarray(28)), decipher.final()]).toString('utf8');
}
