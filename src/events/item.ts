/** Items and locations: they are created once and never vanish, so others may check that they exist without a lock. */
import type { Command } from './commands.js';
import { accept, refuse } from './decision.js';
import type { Decision, DecisionContext, Handler, Refused } from './decision.js';
import type { Fact } from './facts.js';
import { inTransit, itemStream, locationStream } from './streams.js';

export interface ItemState {
  readonly title: string;
  readonly barcode: string | null;
  readonly shopifyProductId: string | null;
  readonly tags: readonly string[];
  readonly active: boolean;
}

export interface LocationState {
  readonly name: string;
  readonly otherCodes: readonly string[];
}

export const initialItem: ItemState | null = null;
export const initialLocation: LocationState | null = null;

export function evolveItem(state: ItemState | null, fact: Fact): ItemState | null {
  if (fact.type !== 'ItemCreated' && fact.type !== 'ItemChanged') return state;
  const { title, barcode, shopifyProductId, tags, active } = fact.data;
  return { title, barcode, shopifyProductId: shopifyProductId ?? null, tags, active };
}

export function evolveLocation(state: LocationState | null, fact: Fact): LocationState | null {
  if (fact.type !== 'LocationAdded' && fact.type !== 'LocationChanged') return state;
  return { name: fact.data.name, otherCodes: fact.data.otherCodes ?? [] };
}

/** Enough for every way of grouping items that a shop has; rules look through all of them. */
export const tagsMax = 50;

type Of<T extends Command['type']> = Extract<Command, { type: T }>;

export const createItemHandler: Handler<Of<'CreateItem'>> = {
  streams: (c) => [itemStream(c.sku)],
  decide: (command, context) => {
    if (itemState(command.sku, context) === null) return create(command.title, command);
    return refuse('already-exists', `There is an item with the SKU ${command.sku} already.`, 'sku');
  },
};

export const changeItemHandler: Handler<Of<'ChangeItem'>> = {
  streams: (c) => [itemStream(c.sku)],
  decide: (command, context) => {
    const item = itemState(command.sku, context);
    if (item !== null) return change(item, command);
    return refuse('unknown-item', `There is no item with the SKU ${command.sku}; create it first.`, 'sku');
  },
};

export const saveItemHandler: Handler<Of<'SaveItem'>> = {
  streams: (c) => [itemStream(c.sku)],
  decide: (command, context) => {
    const item = itemState(command.sku, context);
    if (item !== null) return change(item, command);
    if (command.title !== undefined) return create(command.title, command);
    return refuse(
      'unknown-item',
      `There is no item with the SKU ${command.sku}, and a new one needs a title.`,
      'title',
    );
  },
};

function create(title: string, command: Of<'CreateItem'> | Of<'SaveItem'>): Decision {
  const { sku, barcode = null, shopifyProductId = null, tags = [], active = true } = command;
  const item: ItemState = { title, barcode, shopifyProductId, tags: tagList(tags), active };
  const refused = refuseTags(item.tags);
  if (refused) return refused;
  const fact: Fact = { type: 'ItemCreated', data: { sku, ...item } };
  return accept([{ stream: itemStream(sku), fact, occurredAt: null }]);
}

function change(before: ItemState, command: Of<'ChangeItem'> | Of<'SaveItem'>): Decision {
  const { sku, title, barcode, shopifyProductId, tags, active } = command;
  const { addTags = [], removeTags = [] } = command.type === 'ChangeItem' ? command : {};
  const removed = new Set(tagList(removeTags));
  const after: ItemState = {
    title: title ?? before.title,
    barcode: barcode === undefined ? before.barcode : barcode,
    // A head that was folded before items had this field has none.
    shopifyProductId: shopifyProductId === undefined ? (before.shopifyProductId ?? null) : shopifyProductId,
    tags: tagList([...(tags ?? before.tags), ...addTags]).filter((tag) => !removed.has(tag)),
    active: active ?? before.active,
  };
  const refused = refuseTags(after.tags);
  if (refused) return refused;
  if (isSameItem(before, after)) return accept([], 'Nothing to do: the item is like this already.');
  const fact: Fact = { type: 'ItemChanged', data: { sku, ...after } };
  return accept([{ stream: itemStream(sku), fact, occurredAt: null }]);
}

/** One spelling for every list of tags, so that two lists compare as text. */
export const tagList = (tags: readonly string[]): string[] =>
  [...new Set(tags.map((tag) => tag.toLowerCase()))].sort((a, b) => (a < b ? -1 : 1));

function refuseTags(tags: readonly string[]): Refused | undefined {
  if (tags.length <= tagsMax) return undefined;
  return refuse('not-allowed-now', `An item has at most ${tagsMax} tags; this would make ${tags.length}.`, 'tags');
}

const isSameItem = (a: ItemState, b: ItemState) =>
  a.title === b.title &&
  a.barcode === b.barcode &&
  (a.shopifyProductId ?? null) === (b.shopifyProductId ?? null) &&
  a.active === b.active &&
  a.tags.length === b.tags.length &&
  a.tags.every((tag, at) => tag === b.tags[at]);

const itemState = (sku: string, context: DecisionContext) => context.stateOf(itemStream(sku)) as ItemState | null;

export const addLocationHandler: Handler<Extract<Command, { type: 'AddLocation' }>> = {
  streams: (c) => [locationStream(c.location)],
  decide: ({ location, name, otherCodes = [] }, context) => {
    const stream = locationStream(location);
    if (location === '' || location.includes('/')) {
      return refuse('not-allowed-now', 'The name of a location is not empty and has no slash in it.', 'location');
    }
    if (location === inTransit || context.exists(stream)) {
      return refuse('already-exists', `There is a location ${location} already.`, 'location');
    }
    const data = { location, name, otherCodes: codeList(otherCodes) };
    return accept([{ stream, fact: { type: 'LocationAdded', data }, occurredAt: null }]);
  },
};

export const changeLocationHandler: Handler<Of<'ChangeLocation'>> = {
  streams: (c) => [locationStream(c.location)],
  decide: ({ location, name, otherCodes }, context) => {
    const stream = locationStream(location);
    const before = context.stateOf(stream) as LocationState | null;
    if (before === null)
      return refuse('unknown-location', `There is no location ${location}; add it first.`, 'location');
    const after = { name: name ?? before.name, otherCodes: codeList(otherCodes ?? before.otherCodes ?? []) };
    if (after.name === before.name && String(after.otherCodes) === String(before.otherCodes ?? []))
      return accept([], 'Nothing to do: the location is like this already.');
    return accept([{ stream, fact: { type: 'LocationChanged', data: { location, ...after } }, occurredAt: null }]);
  },
};

const codeList = (codes: readonly string[]): string[] => [...new Set(codes)].sort((a, b) => (a < b ? -1 : 1));
