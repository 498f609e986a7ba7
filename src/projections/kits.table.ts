import { sql } from 'drizzle-orm';
import { bigint, check, index, pgTable, primaryKey, text } from 'drizzle-orm/pg-core';
import { code, time } from '../columns.js';

/** Kits as the projector has reached them, those that are none any more too. All three are written by kits.ts only. */
export const kits = pgTable('kits', {
  sku: code().primaryKey(),
  version: bigint({ mode: 'bigint' }).notNull(),
  savedBy: text('saved_by').notNull(),
  savedAt: time('saved_at').notNull(),
});

/** What a kit is made of, as it was entered: kits, too. */
export const kitComponents = pgTable(
  'kit_components',
  {
    kit: code().notNull(),
    component: code().notNull(),
    quantity: bigint({ mode: 'number' }).notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.kit, t.component] }),
    index('kit_components_component').on(t.component, t.kit),
    check('kit_components_quantity', sql`${t.quantity} > 0`),
  ],
);

/** The plain items in one kit, whatever lies between: from these its number follows, and by these it is found. */
export const kitParts = pgTable(
  'kit_parts',
  {
    kit: code().notNull(),
    sku: code().notNull(),
    quantity: bigint({ mode: 'number' }).notNull(),
  },
  (t) => [primaryKey({ columns: [t.kit, t.sku] }), index('kit_parts_sku').on(t.sku, t.kit)],
);
