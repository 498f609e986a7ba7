/** Items and locations: they are created once and never vanish, so others may check that they exist without a lock. */
import type { Command } from './commands.js';
import { accept, refuse } from './decision.js';
import type { Handler } from './decision.js';
import type { Fact } from './facts.js';
import { inTransit, itemStream, locationStream } from './streams.js';

export interface ItemState {
  readonly title: string;
  readonly barcode: string | null;
  readonly active: boolean;
}

export interface LocationState {
  readonly name: string;
}

export const initialItem: ItemState | null = null;
export const initialLocation: LocationState | null = null;

export function evolveItem(state: ItemState | null, fact: Fact): ItemState | null {
  if (fact.type !== 'ItemCreated' && fact.type !== 'ItemChanged') return state;
  const { title, barcode, active } = fact.data;
  return { title, barcode, active };
}

export function evolveLocation(state: LocationState | null, fact: Fact): LocationState | null {
  return fact.type === 'LocationAdded' ? { name: fact.data.name } : state;
}

export const createItemHandler: Handler<Extract<Command, { type: 'CreateItem' }>> = {
  streams: (c) => [itemStream(c.sku)],
  decide: ({ sku, title, barcode }, context) => {
    const stream = itemStream(sku);
    if (context.exists(stream)) return refuse('already-exists', `There is an item with the SKU ${sku} already.`, 'sku');
    const data = { sku, title, barcode: barcode ?? null, active: true };
    return accept([{ stream, fact: { type: 'ItemCreated', data }, occurredAt: null }]);
  },
};

export const addLocationHandler: Handler<Extract<Command, { type: 'AddLocation' }>> = {
  streams: (c) => [locationStream(c.location)],
  decide: ({ location, name }, context) => {
    const stream = locationStream(location);
    if (location === '' || location.includes('/')) {
      return refuse('not-allowed-now', 'The name of a location is not empty and has no slash in it.', 'location');
    }
    if (location === inTransit || context.exists(stream)) {
      return refuse('already-exists', `There is a location ${location} already.`, 'location');
    }
    return accept([{ stream, fact: { type: 'LocationAdded', data: { location, name } }, occurredAt: null }]);
  },
};
