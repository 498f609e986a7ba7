import { z } from 'zod';
import { Problem } from './problem.js';

export interface Page<T> {
  readonly data: readonly T[];
  /** Hand it back as `cursor`; null: this was the last page. */
  readonly nextCursor: string | null;
}

export const limitMax = 200;

export const pageFields = {
  cursor: z.string().max(2000).optional().describe('nextCursor of the page before'),
  limit: z.coerce.number().int().min(1).max(limitMax).default(50),
};

/**
 * Cuts what was read into a page. Read `limit + 1` rows, in the order of the cursor's parts: whether there is a next page
 * is then known without counting.
 */
export function pageOf<R, T>(
  rows: readonly R[],
  limit: number,
  positionOf: (row: R) => readonly (string | number)[],
  show: (row: R) => T,
): Page<T> {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const more = rows.length > limit && last !== undefined;
  return { data: shown.map(show), nextCursor: more ? encodeCursor(positionOf(last)) : null };
}

/** Only for pages that end elsewhere than at their last row; others are cut by {@link pageOf}. */
export function encodeCursor(position: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify(position)).toString('base64url');
}

/** @throws Problem invalid-cursor when it is not what the same list handed out */
export function decodeCursor<T extends z.ZodType>(cursor: string | undefined, schema: T): z.infer<T> | null {
  if (cursor === undefined) return null;
  try {
    const position: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
    if (Array.isArray(position) && position.some((part) => typeof part === 'string' && UNSTORABLE.test(part)))
      throw new Error('No row has such a text');
    return schema.parse(position);
  } catch {
    throw new Problem('invalid-cursor', 'Use nextCursor of the page before exactly as it was, with the same filters.', [
      { field: 'cursor', detail: 'is not a cursor of this list' },
    ]);
  }
}

/** What no text of a row holds, and PostgreSQL partly does not even take. */
const UNSTORABLE = /[\p{Cc}\p{Cs}]/u;

/** A bigint as it travels: digits that PostgreSQL's bigint can hold. */
export const digits = z.string().regex(/^\d{1,18}$/, 'must be a number as an answer gave it');
