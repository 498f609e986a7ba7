import { sql } from 'drizzle-orm';
import { check, index, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import { bytea, time } from '../../columns.js';

/** What a key may do; each scope includes the ones before it. */
export const scopes = ['read', 'operate', 'admin'] as const;
export type Scope = (typeof scopes)[number];

/** Who may call the API. Written by api-keys.ts only. The key itself is shown once and never stored. */
export const apiKeys = pgTable(
  'api_keys',
  {
    id: uuid().primaryKey(),
    name: text().notNull(),
    /** The first characters of the key: enough to recognise and to find it, not enough to use it. */
    prefix: text().notNull(),
    /** SHA-256 of the whole key. A key has 256 random bits, so a slow hash would protect nothing more. */
    hash: bytea().notNull(),
    scope: text().$type<Scope>().notNull(),
    createdAt: time('created_at').notNull().defaultNow(),
    expiresAt: time('expires_at'),
    /** To the minute; a busy key must not cost a write per request. */
    lastUsedAt: time('last_used_at'),
    revokedAt: time('revoked_at'),
  },
  (t) => [
    index('api_keys_prefix').on(t.prefix),
    check('api_keys_scope', sql`${t.scope} in ('read', 'operate', 'admin')`),
  ],
);
