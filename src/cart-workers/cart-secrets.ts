import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { eq, sql } from 'drizzle-orm';
import type { Database } from '../database.js';
import { cartSecrets } from './lanes.table.js';

/**
 * Carts' passwords and signing secrets: AES-256-GCM under the installation's key, bound to their cart so that a row
 * copied to another cart does not open. Write-only from outside; read only to make a call.
 */
export class CartSecrets {
  /** Names the key without telling anything about it, so that a rotation knows which rows are still old. */
  private readonly keyId: string;

  constructor(
    private readonly database: Database,
    private readonly encryptionKey: Buffer,
  ) {
    this.keyId = createHash('sha256').update('onhand key id').update(encryptionKey).digest('hex').slice(0, 16);
  }

  async put(cartId: string, secret: string): Promise<void> {
    const values = { keyId: this.keyId, ciphertext: this.encrypt(cartId, secret), updatedAt: sql`now()` };
    await this.database.orm
      .insert(cartSecrets)
      .values({ cartId, ...values })
      .onConflictDoUpdate({ target: cartSecrets.cartId, set: values });
  }

  /** @returns '' when none was ever put */
  async get(cartId: string): Promise<string> {
    const [row] = await this.database.orm.select().from(cartSecrets).where(eq(cartSecrets.cartId, cartId));
    if (row === undefined) return '';
    if (row.keyId !== this.keyId) {
      throw new Error(
        `The secret of cart ${cartId} was encrypted with another key (${row.keyId}, this is ${this.keyId}). Start with the right ONHAND_ENCRYPTION_KEY, or enter the secret again.`,
      );
    }
    return this.decrypt(cartId, row.ciphertext);
  }

  /** 12 bytes nonce, 16 bytes tag, the rest ciphertext. */
  private encrypt(cartId: string, secret: string): Buffer {
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', this.encryptionKey, nonce).setAAD(Buffer.from(cartId));
    const body = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), body]);
  }

  private decrypt(cartId: string, stored: Buffer): string {
    const decipher = createDecipheriv('aes-256-gcm', this.encryptionKey, stored.subarray(0, 12)).setAAD(
      Buffer.from(cartId),
    );
    decipher.setAuthTag(stored.subarray(12, 28));
    return Buffer.concat([decipher.update(stored.subarray(28)), decipher.final()]).toString('utf8');
  }
}
