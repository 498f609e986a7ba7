/**
 * Order lines whose key was unknown when the order came. Their pieces were taken all the same, under the cart's key as the
 * SKU, because the order happened. Once the key is mapped they are given back there and taken from the item: once, as
 * of the moment the order was placed, and without an echo, since the cart itself has done nothing new.
 *
 * An item that is created under the key itself needs none of this: its stock is what was taken under the key.
 */
import type { DecisionContext } from './decision.js';
import { cartOf } from './facts.js';
import type { MovementFact, OrderLine } from './facts.js';
import { plainParts } from './kit.js';
import { changesSomething, differenceOf, moveParts } from './order-lines.js';
import type { HeldLine, OrderHead, OrderName, Step } from './order-lines.js';
import { itemStream } from './streams.js';

/** Taken under the cart's own key, as nobody knew what else it was. */
export const isProvisional = ({ sku, key }: Pick<OrderLine, 'sku' | 'key'>) => sku === key;

export interface Resolved {
  readonly head: OrderHead;
  readonly step: Step;
}

/**
 * @param skuOf what a key is mapped to by now; undefined: nothing
 * @returns null when no line of the order becomes known by it
 */
export function resolveLines(
  order: OrderName,
  head: OrderHead,
  skuOf: (key: string) => string | undefined,
  context: DecisionContext,
): Resolved | null {
  const known = head.lines.map((line) => {
    const sku = cartOf(order.source) !== null && isProvisional(line) ? skuOf(line.key) : undefined;
    if (sku === undefined || sku === line.sku || context.exists(itemStream(line.key))) return null;
    const { title: _title, ...rest } = line;
    const parts = plainParts(sku, context.stateOf);
    return { before: line, after: { ...rest, sku, ...(parts !== null && { parts }) } };
  });
  const resolved = known.filter((pair) => pair !== null);
  if (resolved.length === 0) return null;
  return {
    head: { ...head, lines: head.lines.map((line, at) => known[at]?.after ?? line) },
    step: {
      differences: resolved.flatMap(({ before, after }) => differences(before, after)),
      movements: resolved.flatMap(({ before, after }) => movements(order, before, after)),
    },
  };
}

/** What a cart tells of a line whose key it was not known to be mapped for must not undo what is known of it. */
export function knownSku<L extends OrderLine>(line: L, head: OrderHead): L {
  if (!isProvisional(line)) return line;
  const known = head.lines.find(
    (other) => other.line === line.line && other.key === line.key && other.location === line.location,
  );
  return known === undefined ? line : { ...line, sku: known.sku };
}

const differences = (before: HeldLine, after: HeldLine) =>
  [
    differenceOf(before, { delta: before.held, openDelta: 0 - before.open, echoDelta: 0 }),
    differenceOf(after, { delta: 0 - before.held, openDelta: before.open, echoDelta: 0 }),
  ].filter(changesSomething);

/** What was shipped already moves, too: it was never taken from the item. */
function movements(order: OrderName, before: HeldLine, after: HeldLine): MovementFact[] {
  const { held, open } = before;
  if (held === 0) return [];
  const closed = held - open;
  const back = { delta: held, openDelta: 0 - open, reason: `it is ${after.sku}` };
  const taken = { delta: -held, openDelta: held, reason: `was unknown as ${before.key}` };
  const ended = { delta: 0, openDelta: -closed, reason: 'shipped or closed before' };
  return [
    ...moveParts(order, before, back, (data) => ({
      type: 'StockReturned',
      data: { ...data, resellable: true, quantity: held },
    })),
    ...moveParts(order, after, taken, (data) => ({ type: 'StockSold', data })),
    ...(closed > 0 ? moveParts(order, after, ended, (data) => ({ type: 'OrderLineClosed', data })) : []),
  ];
}
