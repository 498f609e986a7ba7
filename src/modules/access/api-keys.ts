import { createHash, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { Inject, Injectable, Logger, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { and, desc, eq, gt, isNull, lt, ne, or, sql } from 'drizzle-orm';
import type { Database } from '../../database.js';
import { Wakeups } from '../../wakeups.js';
import { DATABASE } from '../tokens.js';
import { apiKeys, scopes, type Scope } from './api-keys.table.js';

/** Who is calling. */
export interface KeyHolder {
  readonly id: string;
  readonly name: string;
  readonly scope: Scope;
  readonly expiresAt: Date | null;
}

export interface ApiKeyRow extends KeyHolder {
  readonly prefix: string;
  readonly createdAt: Date;
  readonly lastUsedAt: Date | null;
  readonly revokedAt: Date | null;
}

/**
 * Makes, checks and revokes API keys. What was checked is remembered for a few seconds, so that a busy client costs no
 * query per request. A revocation tells every process to forget; where that word is lost, the few seconds are the most
 * that a revoked key is let in for.
 */
@Injectable()
export class ApiKeys implements OnModuleInit, OnApplicationShutdown {
  private readonly remembered = new Map<string, { holder: KeyHolder; until: number }>();
  /** Hashes of keys that were valid here once; what is guessed is not among them. */
  private readonly familiar = new Set<string>();
  private readonly lastNoted = new Map<string, number>();
  private readonly logger = new Logger('Access');

  /** Rises with every revocation: what was read before one is not remembered after it. */
  private revocations = 0;
  private stopListening: (() => void) | undefined;

  constructor(
    @Inject(DATABASE) private readonly database: Database,
    private readonly wakeups: Wakeups,
  ) {}

  onModuleInit(): void {
    this.stopListening = this.wakeups.on('api-keys', () => {
      this.revocations += 1;
      this.remembered.clear();
    });
  }

  onApplicationShutdown(): void {
    this.stopListening?.();
  }

  /** Resolves with the holder of a key that is valid now, else with null. */
  async check(key: string): Promise<KeyHolder | null> {
    // What no key holds is not asked of the database, which does not take all of it.
    if (key.length > KEY_LENGTH_MAX || /[\p{Cc}\p{Cs}]/u.test(key)) return null;
    const hash = hashOf(key);
    const name = hash.toString('hex');
    const holder = await this.recall(`hash:${name}`, async () => {
      const rows = await this.database.orm
        .select()
        .from(apiKeys)
        .where(eq(apiKeys.prefix, prefixOf(key)));
      return rows.find((row) => row.hash.length === hash.length && timingSafeEqual(row.hash, hash));
    });
    if (holder === null) this.familiar.delete(name);
    else if (this.familiar.size < REMEMBERED_MAX) this.familiar.add(name);
    return holder;
  }

  /** Whether this process has seen the key to be valid; it may have been revoked since. */
  wasValid(key: string): boolean {
    return key.length <= KEY_LENGTH_MAX && this.familiar.has(hashOf(key).toString('hex'));
  }

  /** The same for a browser session, which remembers the key's id. */
  checkId(id: string): Promise<KeyHolder | null> {
    return this.recall(`id:${id}`, async () => {
      const rows = await this.database.orm.select().from(apiKeys).where(eq(apiKeys.id, id));
      return rows[0];
    });
  }

  /** Makes a key. The answer is the only place where it can be read. */
  async create(input: { name: string; scope: Scope; expiresAt: Date | null }): Promise<ApiKeyRow & { key: string }> {
    const key = `ohk_${randomBytes(32).toString('base64url')}`;
    const row = await this.insert(input, key);
    return { ...row, key };
  }

  list(): Promise<ApiKeyRow[]> {
    const { hash: _hidden, ...shown } = columns;
    return this.database.orm.select(shown).from(apiKeys).orderBy(desc(apiKeys.createdAt), apiKeys.id);
  }

  /**
   * Ends a key, in every process. Revoking twice is the same as once. The last valid admin key is spared unless `force`:
   * without one, nobody can make keys or change carts until a hub is started that makes or is given one.
   */
  async revoke(id: string, force: boolean): Promise<'revoked' | 'unknown' | 'last-admin'> {
    const outcome = await this.database.orm.transaction(async (tx) => {
      // Two that revoke the last two keys at the same moment must not both find the other's still there.
      await tx.execute(sql`select pg_advisory_xact_lock(${OWNER_LOCK})`);
      const [row] = await tx.select().from(apiKeys).where(eq(apiKeys.id, id));
      if (row === undefined) return 'unknown';
      const [other] = await tx
        .select({ id: apiKeys.id })
        .from(apiKeys)
        .where(and(validAdmin, ne(apiKeys.id, id)))
        .limit(1);
      const admits = row.scope === 'admin' && row.revokedAt === null && !expired(row, Date.now());
      if (admits && other === undefined && !force) return 'last-admin';
      await tx
        .update(apiKeys)
        .set({ revokedAt: sql`coalesce(${apiKeys.revokedAt}, now())` })
        .where(eq(apiKeys.id, id));
      return 'revoked';
    });
    if (outcome === 'revoked') this.wakeups.signal('api-keys');
    return outcome;
  }

  /**
   * The first key of a hub. With a preset key that one exists afterwards; otherwise a new one is made where no admin key
   * is left. Resolves with the new key, to be shown once, or null when nothing was made that nobody knows.
   * Several processes may start at once: an advisory lock lets one of them make it.
   */
  async ensureOwner(preset: string | undefined): Promise<string | null> {
    return this.database.orm.transaction(async (tx) => {
      await tx.execute(sql`select pg_advisory_xact_lock(${OWNER_LOCK})`);
      if (preset !== undefined) {
        const known = await tx
          .select({ hash: apiKeys.hash })
          .from(apiKeys)
          .where(eq(apiKeys.prefix, prefixOf(preset)));
        if (known.some((row) => row.hash.equals(hashOf(preset)))) return null;
        await tx
          .insert(apiKeys)
          .values(valuesOf({ name: 'owner (ONHAND_OWNER_KEY)', scope: 'admin', expiresAt: null }, preset));
        return null;
      }
      const owners = await tx.select({ id: apiKeys.id }).from(apiKeys).where(validAdmin).limit(1);
      if (owners.length > 0) return null;
      const key = `ohk_${randomBytes(32).toString('base64url')}`;
      await tx.insert(apiKeys).values(valuesOf({ name: 'owner', scope: 'admin', expiresAt: null }, key));
      return key;
    });
  }

  private async insert(input: { name: string; scope: Scope; expiresAt: Date | null }, key: string): Promise<ApiKeyRow> {
    const { hash: _hidden, ...shown } = columns;
    const [row] = await this.database.orm.insert(apiKeys).values(valuesOf(input, key)).returning(shown);
    return row!;
  }

  private async recall(
    entry: string,
    find: () => Promise<(ApiKeyRow & { hash: Buffer }) | undefined>,
  ): Promise<KeyHolder | null> {
    const now = Date.now();
    const remembered = this.remembered.get(entry);
    if (remembered !== undefined && remembered.until > now) {
      this.noteUse(remembered.holder.id, now);
      return expired(remembered.holder, now) ? null : remembered.holder;
    }
    const { revocations } = this;
    const row = await find();
    if (row === undefined || row.revokedAt !== null || expired(row, now)) return null;
    const holder: KeyHolder = { id: row.id, name: row.name, scope: row.scope, expiresAt: row.expiresAt };
    if (this.remembered.size >= REMEMBERED_MAX) this.remembered.clear();
    if (revocations === this.revocations) this.remembered.set(entry, { holder, until: now + REMEMBERED_MS });
    this.noteUse(holder.id, now);
    return holder;
  }

  private noteUse(id: string, now: number): void {
    if (now - (this.lastNoted.get(id) ?? 0) < NOTED_EVERY_MS) return;
    if (this.lastNoted.size >= REMEMBERED_MAX) this.lastNoted.clear();
    this.lastNoted.set(id, now);
    this.database.orm
      .update(apiKeys)
      .set({ lastUsedAt: new Date(now) })
      .where(and(eq(apiKeys.id, id), or(isNull(apiKeys.lastUsedAt), lt(apiKeys.lastUsedAt, new Date(now)))))
      // The request itself has been let in; that nobody can see when it was is not worth failing it.
      .catch((error: unknown) => this.logger.warn(`The last use of API key ${id} was not noted: ${String(error)}`));
  }
}

export function allows(held: Scope, needed: Scope): boolean {
  return scopes.indexOf(held) >= scopes.indexOf(needed);
}

const columns = {
  id: apiKeys.id,
  name: apiKeys.name,
  prefix: apiKeys.prefix,
  hash: apiKeys.hash,
  scope: apiKeys.scope,
  createdAt: apiKeys.createdAt,
  expiresAt: apiKeys.expiresAt,
  lastUsedAt: apiKeys.lastUsedAt,
  revokedAt: apiKeys.revokedAt,
};

const validAdmin = and(
  eq(apiKeys.scope, 'admin'),
  isNull(apiKeys.revokedAt),
  or(isNull(apiKeys.expiresAt), gt(apiKeys.expiresAt, sql`now()`)),
);

const KEY_LENGTH_MAX = 500;
const REMEMBERED_MS = 5_000;
const REMEMBERED_MAX = 1_000;
const NOTED_EVERY_MS = 60_000;
const OWNER_LOCK = 0x6f6e6b79; // "onky"

const hashOf = (key: string) => createHash('sha256').update(key).digest();
const prefixOf = (key: string) => key.slice(0, 12);
const expired = (key: { expiresAt: Date | null }, now: number) =>
  key.expiresAt !== null && key.expiresAt.getTime() <= now;

function valuesOf(input: { name: string; scope: Scope; expiresAt: Date | null }, key: string) {
  return { id: randomUUID(), ...input, prefix: prefixOf(key), hash: hashOf(key) };
}
