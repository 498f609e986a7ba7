/**
 * Kits: items that are put together out of other items when they are sold. A kit has no stock of its own; whoever sells one
 * takes the pieces it is made of. A kit may contain kits, and those only plain items.
 */
import { kitStream } from './streams.js';
import type { StreamName } from './streams.js';

/** So many pieces of an item in one kit. */
export interface KitPart {
  readonly sku: string;
  readonly quantity: number;
}

export type KitFact =
  /** Tells the whole composition, as it was entered; empty: it is an item by itself again. */
  | {
      readonly type: 'KitSet';
      readonly data: { readonly sku: string; readonly components: readonly KitPart[]; readonly by: string };
    }
  /** Once, with the first kit: the stream on which changes of kits queue up, so that no two of them can close a circle. */
  | { readonly type: 'KitsBegun'; readonly data: Record<string, never> };

export interface KitState {
  readonly components: readonly KitPart[];
}

type StateOf = (stream: StreamName) => unknown;

/** As it was entered; empty: no kit. */
export const componentsOf = (sku: string, stateOf: StateOf): readonly KitPart[] =>
  (stateOf(kitStream(sku)) as KitState | null)?.components ?? [];

/**
 * The plain items that one kit takes, each once, in the order of their SKUs.
 * @returns null where it is no kit
 */
export function plainParts(sku: string, stateOf: StateOf): readonly KitPart[] | null {
  const components = componentsOf(sku, stateOf);
  if (components.length === 0) return null;
  const sums = new Map<string, number>();
  for (const component of components) {
    for (const part of plainParts(component.sku, stateOf) ?? [{ sku: component.sku, quantity: 1 }])
      sums.set(part.sku, (sums.get(part.sku) ?? 0) + part.quantity * component.quantity);
  }
  return inOrder([...sums].map(([part, quantity]) => ({ sku: part, quantity })));
}

export const inOrder = (parts: readonly KitPart[]): KitPart[] =>
  [...parts].sort((a, b) => (a.sku < b.sku ? -1 : 1)).map(({ sku, quantity }) => ({ sku, quantity }));

/** In words: `2 × BOLT, 1 × PLATE`. */
export const partsInWords = (parts: readonly KitPart[]) =>
  parts.map(({ sku, quantity }) => `${quantity} × ${sku}`).join(', ');
