import { Inject, Injectable } from '@nestjs/common';
import { z } from 'zod';
import type { Database } from '../../database.js';
import { afterPrefix, fold, wordsOf } from '../../projections/search-words.js';
import { decodeCursor, encodeCursor, pageOf, type Page } from '../http/paging.js';
import { DATABASE } from '../tokens.js';

/** Which items a list shows: lists leave inactive ones out unless they are asked for. */
export type Activity = 'yes' | 'no' | 'all';

export interface FoundItem {
  readonly sku: string;
  readonly title: string;
  readonly barcode: string | null;
  readonly tags: readonly string[];
  readonly active: boolean;
  readonly foundBy: 'sku' | 'barcode' | 'title';
}

/**
 * Finds items by the beginning of their SKU, their barcode or words of their title, whatever the capitals and accents.
 *
 * Three stages, one after the other, each a range of an index read in its order: SKUs that begin so, then barcodes, then
 * titles. So a page costs the same wherever it is and however many items there are, and nothing is sorted. Of several
 * words all must begin a word of the title: the rarest is walked, the others are looked for in each item. A request
 * looks through a bounded number of candidates; a page may therefore be short, or empty, and still have a next one.
 */
@Injectable()
export class ItemSearch {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  /** @throws Problem invalid-cursor */
  async find(query: {
    readonly q: string;
    readonly active: Activity;
    readonly cursor?: string | undefined;
    readonly limit: number;
  }): Promise<Page<FoundItem>> {
    const position = decodeCursor(query.cursor, cursorSchema);
    if (fold(query.q) === '') return { data: [], nextCursor: null };
    const sought = await this.soughtBy(query.q, query.active, position?.[3]);
    const found: Candidate[] = [];
    let at: Position | null = position === null ? [0, '', '', sought.walked] : position;
    for (let window = 0; at !== null && window < windowsMax && found.length <= query.limit; window += 1) {
      const [stage, term, sku]: Position = at;
      const room = query.limit + 1 - found.length;
      const rows = await this.candidates(stages[stage]!, sought, [term, sku], room);
      for (const row of rows) found.push({ ...row, stage });
      if (rows.length === room) break;
      const end = await this.windowEnd(stages[stage]!, sought, [term, sku]);
      at = end === null ? nextStage(stage, sought) : [stage, end.term, end.sku, sought.walked];
    }
    const page = pageOf(found, query.limit, (row) => [row.stage, row.term, row.sku, sought.walked], shown);
    if (page.nextCursor !== null || found.length > query.limit || at === null) return page;
    // Looked through enough for one request: the next one goes on behind the last candidate.
    return { ...page, nextCursor: encodeCursor(at) };
  }

  private async candidates(
    stage: Stage,
    sought: Sought,
    after: After,
    limit: number,
  ): Promise<Omit<Candidate, 'stage'>[]> {
    const found = await this.database.pool.query<Omit<Candidate, 'stage'>>({
      name: `item-search-${stage.name}`,
      text: `SELECT c.term, i.sku, i.title, i.barcode, i.tags, i.active
               FROM (${stage.range} LIMIT ${windowRows}) c
                    -- One by one, and only until the page is full; joined as sets, all items were read for one page.
                    CROSS JOIN LATERAL (SELECT * FROM items WHERE sku = c.sku LIMIT 1) i
              WHERE ($5::boolean IS NULL OR i.active = $5) AND ${stage.only}
              ORDER BY c.term, c.sku LIMIT $6`,
      values: [...rangeOf(stage, sought, after), sought.active, limit, ...stage.values(sought)],
    });
    return found.rows;
  }

  /** Where a full window of candidates ends; null: it was the last one of its stage. */
  private async windowEnd(stage: Stage, sought: Sought, after: After): Promise<{ term: string; sku: string } | null> {
    const found = await this.database.pool.query<{ term: string; sku: string }>({
      name: `item-search-${stage.name}-end`,
      text: `${stage.range.replace(/\$(\d)/g, (_, at) => `$${Number(at) - 1}`)} OFFSET ${windowRows - 1} LIMIT 1`,
      values: rangeOf(stage, sought, after).slice(1),
    });
    return found.rows[0] ?? null;
  }

  /** @param walked which of the words the pages before walked */
  private async soughtBy(q: string, active: Activity, walked: number | undefined): Promise<Sought> {
    const words = wordsOf(q);
    return {
      whole: fold(q),
      words,
      walked: walked !== undefined && walked < words.length ? walked : await this.rarest(words),
      active: active === 'all' ? null : active === 'yes',
    };
  }

  /** The word that fewest titles have, as far as a short look tells. */
  private async rarest(words: readonly string[]): Promise<number> {
    if (words.length < 2) return 0;
    const counted = await this.database.pool.query<{ at: number }>({
      name: 'item-search-rarest',
      text: `SELECT (t.at - 1)::int AS at
               FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS t (word, after, at),
                    LATERAL (SELECT count(*) AS titles
                               FROM (SELECT FROM item_words w WHERE w.word >= t.word AND w.word < t.after LIMIT ${rarestLook}) x) n
              ORDER BY n.titles, length(t.word) DESC, t.at LIMIT 1`,
      values: [words, words.map(afterPrefix)],
    });
    return counted.rows[0]?.at ?? 0;
  }
}

interface Sought {
  /** The whole text: a SKU or a barcode may have spaces in it. */
  readonly whole: string;
  readonly words: readonly string[];
  /** Which of the words is walked. */
  readonly walked: number;
  /** null: both. */
  readonly active: boolean | null;
}

interface Candidate extends Omit<FoundItem, 'foundBy'> {
  readonly stage: number;
  readonly term: string;
}

type After = readonly [term: string, sku: string];
type Position = readonly [stage: number, term: string, sku: string, walked: number];
const cursorSchema = z.tuple([z.int().min(0).max(2), z.string(), z.string(), z.int().min(0).max(100)]);

/** Candidates of one statement, and statements of one request: a hundred milliseconds at the worst. */
const windowRows = 5_000;
const windowsMax = 8;
const rarestLook = 2_000;

interface Stage {
  readonly name: FoundItem['foundBy'];
  /**
   * Candidates in the order of an index, from behind ($3, $4) up to $2. There is no second lower bound beside it: an index
   * scan begins at one of them, and from the wrong one it walks to the other.
   */
  readonly range: string;
  /** What a candidate must be besides; an item is found by the first stage that finds it, and once. */
  readonly only: string;
  readonly values: (sought: Sought) => readonly unknown[];
}

const beginsSo = (word: string) =>
  `EXISTS (SELECT FROM unnest(i.words) AS o (word) WHERE starts_with(o.word, ${word}))`;

const stages: readonly Stage[] = [
  {
    name: 'sku',
    range: `SELECT folded_sku AS term, sku FROM items
             WHERE folded_sku < $2 AND (folded_sku, sku) > ($3, $4) ORDER BY folded_sku, sku`,
    only: 'starts_with(i.folded_sku, $1)',
    values: () => [],
  },
  {
    name: 'barcode',
    range: `SELECT lower(barcode) AS term, sku FROM items
             WHERE barcode IS NOT NULL AND lower(barcode) < $2 AND (lower(barcode), sku) > ($3, $4)
             ORDER BY lower(barcode), sku`,
    only: 'NOT starts_with(i.folded_sku, $1)',
    values: () => [],
  },
  {
    name: 'title',
    range: `SELECT word AS term, sku FROM item_words
             WHERE word < $2 AND (word, sku) > ($3, $4) ORDER BY word, sku`,
    // Of several words that begin so the first in the alphabet stands for the item.
    only: `c.term = (SELECT min(o.word COLLATE "C") FROM unnest(i.words) AS o (word) WHERE starts_with(o.word, $1))
           AND NOT starts_with(i.folded_sku, $7) AND NOT coalesce(starts_with(lower(i.barcode), $7), false)
           AND NOT EXISTS (SELECT FROM unnest($8::text[]) AS s (word) WHERE NOT ${beginsSo('s.word')})`,
    values: ({ whole, words, walked }) => [whole, words.filter((_, at) => at !== walked)],
  },
];

/** The prefix, the end of what begins so, and where to go on: at the prefix itself, or behind the page before. */
function rangeOf(stage: Stage, { whole, words, walked }: Sought, [term, sku]: After): string[] {
  const prefix = stage.name === 'title' ? words[walked]! : whole;
  return [prefix, afterPrefix(prefix), ...(term.startsWith(prefix) ? [term, sku] : [prefix, ''])];
}

function nextStage(stage: number, { words, walked }: Sought): Position | null {
  const next = stage + 1;
  if (next >= stages.length || (stages[next]?.name === 'title' && words.length === 0)) return null;
  return [next, '', '', walked];
}

function shown({ term: _term, stage, ...item }: Candidate): FoundItem {
  return { ...item, foundBy: stages[stage]!.name };
}
