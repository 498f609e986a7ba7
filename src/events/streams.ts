import type { OrderSource } from './facts.js';

/**
 * A stream is what is decided on as one: the stock of one SKU at one location, one order, one transfer, one cart, one
 * item, one kit, one location, the rules, the calendar, the system. Its name is its identity and its place in the lock order.
 */
export type StreamName = string & { readonly __stream: unique symbol };

/** The location that holds what was shipped by a transfer and not yet received. */
export const inTransit = 'in-transit';

/** SKUs may hold any printable character, `/` too; a location may not, so the first `/` separates. */
export const stockStream = (location: string, sku: string) => `stock:${location}/${sku}` as StreamName;
export const isStockStream = (stream: string) => stream.startsWith('stock:');
/** `order:cart:<id>/7`, `order:phone/7`: a number is unique within its source only. */
export const orderStream = (source: OrderSource, number: string) => `order:${source}/${number}` as StreamName;
export const transferStream = (transfer: string) => `transfer:${transfer}` as StreamName;
export const itemStream = (sku: string) => `item:${sku}` as StreamName;
export const locationStream = (location: string) => `location:${location}` as StreamName;
export const cartStream = (cartId: string) => `cart:${cartId}` as StreamName;
/** What a kit is made of; beside the item, because most items are none. */
export const kitStream = (sku: string) => `kit:${sku}` as StreamName;
/** Changes of kits queue up here. */
export const kitsStream = 'kits' as StreamName;
/** All rules together: whoever changes one may say which state of the set they looked at. */
export const ruleSetStream = 'rules' as StreamName;
/** Days, as they are closed. */
export const calendarStream = 'calendar' as StreamName;
export const resetSourceStream = (sourceId: string) => `reset-source:${sourceId}` as StreamName;
export const systemStream = 'system' as StreamName;
