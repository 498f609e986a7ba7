import { readFileSync } from 'node:fs';

/** The files whose statements are run for every movement, delivery or look of a loop, however much there is of everything. */
export const hotFiles = [
  'events/claim-commands.ts',
  'events/read-answers.ts',
  'events/lock-heads.ts',
  'events/existing-streams.ts',
  'events/read-kits.ts',
  'events/sum-moved-after.ts',
  'events/write-batch.ts',
  'events/event-reader.ts',
  'projections/checkpoint.ts',
  'projections/quantity-on-hand.ts',
  'projections/open-order-lines.ts',
  'projections/velocity.ts',
  'projections/fan-out.ts',
  'projections/listing-memory.ts',
  'projections/late-items.ts',
  'cart-workers/stack-controller.ts',
  'cart-workers/lane-openings.ts',
  'cart-workers/dispatch.ts',
  'cart-workers/claim.ts',
  'cart-workers/outcome.ts',
  'cart-workers/cart-worker.ts',
  'cart-workers/clamped-listings.ts',
  'cart-workers/drifts/suspicions.ts',
  'cart-workers/drifts/overwritten-lines.ts',
];

/** The names of prepared statements that a file mentions; of one that is put together, its beginning followed by `…`. */
export function statementNames(file: string): string[] {
  const source = readFileSync(new URL(`../../src/${file}`, import.meta.url), 'utf8');
  return [...source.matchAll(/\bname: (?:'([\w-]+)'|`([\w-]+)\$\{)/g)].map(([, whole, begun]) => whole ?? `${begun}…`);
}

/** Whether a statement of that name, or that begins so, was among those seen. */
export const isSeen = (name: string, seen: ReadonlySet<string>) =>
  name.endsWith('…') ? [...seen].some((one) => one.startsWith(name.slice(0, -1))) : seen.has(name);

/** The other way round: whether a statement is one of those names. */
export const isOneOf = (statement: string, names: ReadonlySet<string>) =>
  [...names].some((name) => (name.endsWith('…') ? statement.startsWith(name.slice(0, -1)) : statement === name));
