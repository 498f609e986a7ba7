import { sql } from 'drizzle-orm';
import { bigint, boolean, index, pgTable, primaryKey, text } from 'drizzle-orm/pg-core';
import { code } from '../columns.js';
import { alike } from './alike.js';

/** Items as the projector has reached them. This and the tables below are written by items.ts only. */
export const items = pgTable(
  'items',
  {
    sku: code().primaryKey(),
    title: text().notNull(),
    barcode: code(),
    shopifyProductId: code('shopify_product_id'),
    tags: text().array().notNull(),
    active: boolean().notNull(),
    /** The SKU and the words of the title as a search looks for them (search-words.ts). */
    foldedSku: code('folded_sku').notNull(),
    words: text().array().notNull(),
    version: bigint({ mode: 'bigint' }).notNull(),
  },
  (t) => [
    index('items_folded_sku').on(t.foldedSku, t.sku),
    index('items_alike').on(sql.raw(alike('sku')), t.sku),
    index('items_barcode')
      .on(sql`lower(${t.barcode})`, t.sku)
      .where(sql`barcode is not null`),
    index('items_shopify_product_id')
      .on(t.shopifyProductId, t.sku)
      .where(sql`shopify_product_id is not null`),
    // Lists leave inactive items out, however many of them there are.
    index('items_active')
      .on(t.sku)
      .where(sql`active`),
    index('items_inactive')
      .on(t.sku)
      .where(sql`not active`),
  ],
);

/** A row per tag, so that the items of one tag are a range of an index. */
export const itemTags = pgTable('item_tags', { tag: code().notNull(), sku: code().notNull() }, (t) => [
  primaryKey({ columns: [t.tag, t.sku] }),
]);

/**
 * A row per word of a title: a prefix is a range of its index, in an order that pages can go on in. A full-text index
 * would be smaller, and has to collect and sort every item that begins so before it can show the first one.
 */
export const itemWords = pgTable('item_words', { word: code().notNull(), sku: code().notNull() }, (t) => [
  primaryKey({ columns: [t.word, t.sku] }),
]);
