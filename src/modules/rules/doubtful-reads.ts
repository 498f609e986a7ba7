import { Inject, Injectable } from '@nestjs/common';
import { z } from 'zod';
import type { Database } from '../../database.js';
import { readSettings, type AvailabilitySettings } from '../../projections/availability/availability-settings.js';
import { isLongAgo } from '../../projections/availability/evaluate.js';
import { atLocation } from '../../projections/availability/rule-book.js';
import { decodeCursor, encodeCursor } from '../http/paging.js';
import { DATABASE } from '../tokens.js';

/** Stock that one look goes through at most; a page may be short, and the next one goes on. */
const looksMax = 20;
const lookRows = 500;
const dayMs = 86_400_000;

interface Row {
  readonly sku: string;
  readonly location: string;
  readonly on_hand: string;
  readonly seen_at: Date | null;
  readonly title: string | null;
  readonly tags: readonly string[] | null;
  /** Carts that list the SKU, or a kit it is part of, and sell this location. */
  readonly carts: readonly string[];
}

interface Doubtful {
  readonly sku: string;
  readonly title: string | null;
  readonly location: string;
  readonly onHand: number;
  readonly seenAt: string | null;
  /** By which rule at which cart. */
  readonly heldBack: readonly { readonly cartId: string; readonly ruleId: string; readonly rule: string }[];
}

/** Pieces that a rule does not publish because nobody has seen them for long. */
@Injectable()
export class DoubtfulReads {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  async list(query: { cursor?: string | undefined; limit: number }) {
    let after = decodeCursor(query.cursor, z.tuple([z.string(), z.string()])) ?? ['', ''];
    const settings = await readSettings(this.database.pool);
    const found: Doubtful[] = [];
    for (let look = 0; look < looksMax; look += 1) {
      const rows = await this.look(settings, after);
      for (const row of rows) {
        after = [row.sku, row.location];
        const doubtful = shown(row, settings);
        if (doubtful !== null) found.push(doubtful);
        if (found.length === query.limit) return { data: found, nextCursor: encodeCursor(after) };
      }
      if (rows.length < lookRows) return { data: found, nextCursor: null };
    }
    return { data: found, nextCursor: encodeCursor(after) };
  }

  private async look({ book, calendar }: AvailabilitySettings, [sku, location]: readonly [string, string] | string[]) {
    const rules = book.rules.flatMap(({ effect }) => (effect.kind === 'unconfirmed' ? effect : []));
    if (rules.length === 0 || calendar.day === null) return [];
    const daysMin = Math.min(...rules.map(({ days }) => days));
    const seenBefore = new Date(Date.parse(calendar.day) + (1 - daysMin) * dayMs).toISOString();
    const { rows } = await this.database.pool.query<Row>({
      name: 'doubtful-stock',
      text: `SELECT q.sku, q.location, q.on_hand, q.seen_at, i.title, i.tags,
                    ARRAY(SELECT c.cart_id::text FROM cart_locations c
                           WHERE c.location = q.location
                             AND (EXISTS (SELECT FROM listings l WHERE l.sku = q.sku AND l.cart_id = c.cart_id)
                                  OR EXISTS (SELECT FROM kit_parts p JOIN listings l ON l.sku = p.kit
                                              WHERE p.sku = q.sku AND l.cart_id = c.cart_id))
                           ORDER BY 1) AS carts
               FROM quantity_on_hand q LEFT JOIN items i ON i.sku = q.sku
              WHERE (q.sku, q.location) > ($1, $2) AND q.location <> 'in-transit' AND q.on_hand BETWEEN 1 AND $3
                AND (q.seen_at IS NULL OR q.seen_at < $4::timestamptz)
              ORDER BY q.sku, q.location LIMIT ${lookRows}`,
      values: [sku, location, Math.max(...rules.map(({ atMost }) => atMost)), seenBefore],
    });
    return rows;
  }
}

/** @returns null where no cart's rules hold it back */
function shown(row: Row, { book, calendar }: AvailabilitySettings): Doubtful | null {
  const onHand = Number(row.on_hand);
  const seenAt = row.seen_at?.toISOString() ?? null;
  const held = row.carts.flatMap((cartId) => {
    const rule = atLocation(book.candidates({ sku: row.sku, cartId, tags: row.tags ?? [] }).unconfirmed, row.location);
    if (rule === undefined || onHand > rule.effect.atMost || !isLongAgo(seenAt, rule.effect.days, calendar)) return [];
    return [{ cartId, ruleId: rule.ruleId, rule: rule.name }];
  });
  if (held.length === 0) return null;
  return { sku: row.sku, title: row.title, location: row.location, onHand, seenAt, heldBack: held };
}
