/** What kits are made of. All changes queue up on one stream, so each is checked against every other one. */
import type { Command } from './commands.js';
import { accept, refuse, refuseQuantity } from './decision.js';
import type { DecidedFact, Decision, DecisionContext, Handler, Refused } from './decision.js';
import type { Fact } from './facts.js';
import { componentsOf, inOrder } from './kit.js';
import type { KitPart, KitState } from './kit.js';
import { itemStream, kitStream, kitsStream } from './streams.js';

export const initialKit: KitState = { components: [] };
export const initialKits: { readonly begun: boolean } = { begun: false };

/** An order of many lines is one transaction, and each line takes every part. */
export const componentsMax = 50;
export const componentQuantityMax = 10_000;
/** A kit may contain kits, and those only plain items. */
const levelsMax = 2;

export function evolveKit(state: KitState, fact: Fact): KitState {
  return fact.type === 'KitSet' ? { components: fact.data.components } : state;
}

export function evolveKits(state: typeof initialKits, fact: Fact): typeof initialKits {
  return fact.type === 'KitsBegun' ? { begun: true } : state;
}

type Of<T extends Command['type']> = Extract<Command, { type: T }>;

export const setKitHandler: Handler<Of<'SetKit'>> = {
  streams: (c) => [kitStream(c.sku), kitsStream],
  kits: (c) => [c.sku, ...c.components.map(({ sku }) => sku)],
  kitChanged: (c) => c.sku,
  checks: (c) => [itemStream(c.sku), ...c.components.map(({ sku }) => itemStream(sku))],
  decide: decideSet,
};

export const removeKitHandler: Handler<Of<'RemoveKit'>> = {
  streams: (c) => [kitStream(c.sku), kitsStream],
  decide: ({ sku, by }, context) => {
    if (componentsOf(sku, context.stateOf).length === 0)
      return refuse('unknown-kit', `${sku} is no kit; GET /v1/kits lists them.`, 'sku');
    return accept([kitSet(sku, [], by)]);
  },
};

const kitSet = (sku: string, components: readonly KitPart[], by: string): DecidedFact => ({
  stream: kitStream(sku),
  fact: { type: 'KitSet', data: { sku, components, by } },
  occurredAt: null,
});

function decideSet(command: Of<'SetKit'>, context: DecisionContext): Decision {
  const { sku, by } = command;
  const refused = refuseComponents(command, context) ?? refuseShape(command, context) ?? refuseOwnStock(sku, context);
  if (refused) return refused;
  const components = inOrder(command.components);
  const before = componentsOf(sku, context.stateOf);
  if (JSON.stringify(inOrder(before)) === JSON.stringify(components))
    return accept([], 'Nothing to do: the kit is made of this already.');
  const begun: DecidedFact[] = context.exists(kitsStream)
    ? []
    : [{ stream: kitsStream, fact: { type: 'KitsBegun', data: {} }, occurredAt: null }];
  return accept([kitSet(sku, components, by), ...begun]);
}

function refuseComponents({ sku, components }: Of<'SetKit'>, context: DecisionContext): Refused | undefined {
  if (!context.exists(itemStream(sku)))
    return refuse('unknown-item', `There is no item with the SKU ${sku}; create it first.`, 'sku');
  if (components.length === 0)
    return refuse('quantity-out-of-range', 'A kit has at least one component; remove it instead.', 'components');
  if (components.length > componentsMax) {
    const detail = `A kit has at most ${componentsMax} components, not ${components.length}; make a kit of some of them.`;
    return refuse('quantity-out-of-range', detail, 'components');
  }
  for (const component of components) {
    const wrong = refuseQuantity(component.quantity, 1, 'quantity');
    if (wrong) return wrong;
    if (component.quantity > componentQuantityMax) {
      const detail = `quantity is at most ${componentQuantityMax} in one kit, not ${component.quantity}.`;
      return refuse('quantity-out-of-range', detail, 'quantity');
    }
    if (!context.exists(itemStream(component.sku))) {
      const detail = `There is no item with the SKU ${component.sku}; create it first.`;
      return refuse('unknown-item', detail, 'components');
    }
  }
  const twice = components.find(({ sku: one }, at) => components.findIndex((other) => other.sku === one) < at);
  if (twice === undefined) return undefined;
  return refuse('kit-not-possible', `${twice.sku} is named twice; name it once, with its quantity.`, 'components');
}

/** What contains itself could never be put together; what is deeper than two levels nobody oversees. */
function refuseShape({ sku, components }: Of<'SetKit'>, context: DecisionContext): Refused | undefined {
  const circle = components.find((component) => contains(component.sku, sku, context));
  if (circle !== undefined) {
    const why = circle.sku === sku ? '' : `: ${circle.sku} contains ${sku}`;
    return refuse('kit-not-possible', `A kit cannot contain itself${why}.`, 'components');
  }
  const below = 1 + Math.max(...components.map((component) => levelsOf(component.sku, context)));
  const users = context.kitsUsing([sku]);
  const above = users.length === 0 ? 0 : context.kitsUsing(users).length === 0 ? 1 : 2;
  if (below + above <= levelsMax) return undefined;
  const inner = components.find((component) => levelsOf(component.sku, context) > 0);
  const why = users[0] === undefined ? '' : `${sku} is part of the kit ${users[0]}`;
  const because = [why, inner === undefined ? '' : `${inner.sku} is a kit itself`].filter((text) => text !== '');
  return refuse(
    'kit-not-possible',
    `A kit may contain kits, and those only plain items; ${because.join(', and ')}. Name the items themselves.`,
    'components',
  );
}

/** Ends because what is stored has at most two levels. */
const contains = (outer: string, sku: string, context: DecisionContext): boolean =>
  outer === sku || componentsOf(outer, context.stateOf).some((component) => contains(component.sku, sku, context));

function levelsOf(sku: string, context: DecisionContext): number {
  const components = componentsOf(sku, context.stateOf);
  return components.length === 0 ? 0 : 1 + Math.max(...components.map((part) => levelsOf(part.sku, context)));
}

/** Pieces of its own would be published by nobody and sold by nobody. */
function refuseOwnStock(sku: string, context: DecisionContext): Refused | undefined {
  const own = context.stockAnywhere(sku).find(({ onHand, open }) => onHand !== 0 || open !== 0);
  if (own === undefined) return undefined;
  const what = own.onHand === 0 ? `${own.open} open pieces in orders` : `${own.onHand} on hand`;
  const how = own.onHand === 0 ? 'ship, close or cancel those orders first' : 'adjust that to 0 first';
  const detail = `${sku} has ${what} at ${own.location}, and a kit has no stock of its own: ${how}.`;
  return refuse('not-allowed-now', detail, 'sku');
}
