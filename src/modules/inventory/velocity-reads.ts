import { Inject, Injectable } from '@nestjs/common';
import { and, asc, between, eq } from 'drizzle-orm';
import type { Database } from '../../database.js';
import { velocity } from '../../projections/projections.table.js';
import { Problem } from '../http/problem.js';
import { DATABASE } from '../tokens.js';

const DAYS = 28;
const DAYS_MAX = 366;
const DAY_MS = 86_400_000;

/** How fast an item sells, as the projector has reached it. What counts as what is said in velocity.ts. */
@Injectable()
export class VelocityReads {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  /** Days without a sale or return have no row, and count for the average. @throws Problem */
  async perDay(
    sku: string,
    query: { from?: string | undefined; to?: string | undefined; location?: string | undefined },
  ) {
    const to = query.to ?? dayOf(Date.now());
    const from = query.from ?? dayOf(Date.parse(to) - (DAYS - 1) * DAY_MS);
    const days = (Date.parse(to) - Date.parse(from)) / DAY_MS + 1;
    if (days < 1 || days > DAYS_MAX) {
      const detail = days < 1 ? `must not be after to (${to})` : `must be at most ${DAYS_MAX} days before to (${to})`;
      throw new Problem('invalid-request', `The first day ${detail}.`, [{ field: 'from', detail }]);
    }
    const rows = await this.database.orm
      .select()
      .from(velocity)
      .where(
        and(
          eq(velocity.sku, sku),
          between(velocity.day, from, to),
          query.location === undefined ? undefined : eq(velocity.location, query.location),
        ),
      )
      .orderBy(asc(velocity.day), asc(velocity.location));
    const data = rows.map(({ day, location, sold, cancelled, returned }) => ({
      day,
      location,
      sold,
      cancelled,
      /** Sold less cancelled: below zero on a day that cancelled more than it sold. */
      units: sold - cancelled,
      returned,
    }));
    const total = (of: 'sold' | 'cancelled' | 'units' | 'returned') => data.reduce((sum, row) => sum + row[of], 0);
    const units = total('units');
    return {
      sku,
      from,
      to,
      days,
      sold: total('sold'),
      cancelled: total('cancelled'),
      units,
      returned: total('returned'),
      unitsPerDay: Math.round((units / days) * 1_000) / 1_000,
      data,
    };
  }
}

const dayOf = (ms: number) => new Date(ms).toISOString().slice(0, 10);
