/** Carts, their switches and what was settled about their listings; and the system switch above all of them. */
import type { Command } from './commands.js';
import { accept, isoTime, refuse, refuseQuantity, refuseRowCount, refuseTime, quantityMax } from './decision.js';
import type { Accepted, DecidedFact, Decision, DecisionContext, Handler, Refused } from './decision.js';
import { isProbeOf, usualGuard } from './facts.js';
import type { BaselineReset, Cadence, CartProbe, CartSettings, Fact } from './facts.js';
import { componentsOf } from './kit.js';
import { decideCount, refuseUnknownLocation, stockState } from './stock-item.js';
import { cartStream, itemStream, locationStream, stockStream, systemStream } from './streams.js';
import type { StreamName } from './streams.js';

export interface CartState {
  readonly settings: CartSettings;
  readonly on: boolean;
  /** One more each time the cart was switched on; 0: never yet. */
  readonly generation: number;
  /** The last probe; null where the cart was never probed, or has moved since. */
  readonly probe?: CartProbe | null;
  /** What its script called itself last; undefined: as it was probed. */
  readonly scriptVersion?: string | undefined;
}

export interface SystemState {
  readonly on: boolean;
}

export const initialCart: CartState | null = null;
/** Never switched is neither on nor off for the decider: the first switch is a fact either way. */
export const initialSystem: SystemState | null = null;

export function evolveCart(state: CartState | null, fact: Fact): CartState | null {
  switch (fact.type) {
    case 'CartAdded':
    case 'CartChanged':
      return { on: false, generation: 0, ...state, settings: fact.data, probe: probeAfter(state, fact.data) };
    case 'CartProbed':
      return state === null ? null : { ...state, probe: fact.data, scriptVersion: undefined };
    case 'ScriptVersionSeen':
      return state === null ? null : { ...state, scriptVersion: fact.data.scriptVersion };
    case 'CartSwitched':
      return state === null ? null : { ...state, on: fact.data.on, generation: fact.data.generation };
    default:
      return state;
  }
}

const probeAfter = (state: CartState | null, settings: CartSettings) =>
  state?.probe && isProbeOf(state.probe, settings) ? state.probe : null;

export function evolveSystem(state: SystemState | null, fact: Fact): SystemState | null {
  return fact.type === 'SystemSwitched' ? { on: fact.data.on } : state;
}

type Of<T extends Command['type']> = Extract<Command, { type: T }>;

export const addCartHandler: Handler<Of<'AddCart'>> = {
  streams: (c) => [cartStream(c.cartId)],
  checks: (c) => c.locations.map(locationStream),
  decide: (command, context) => {
    const stream = cartStream(command.cartId);
    if (context.exists(stream)) return refuse('already-exists', `There is a cart ${command.cartId} already.`, 'cartId');
    const settings = settingsOf(command);
    return (
      refuseLocations(settings, settings.locations, context) ?? acceptOne(stream, { type: 'CartAdded', data: settings })
    );
  },
};

export const changeCartHandler: Handler<Of<'ChangeCart'>> = {
  streams: (c) => [cartStream(c.cartId)],
  checks: (c) => (c.locations ?? []).map(locationStream),
  decide: (command, context) => {
    const stream = cartStream(command.cartId);
    const cart = cartState(command.cartId, context);
    if (cart === null) return unknownCart(command.cartId);
    const settings = settingsAfter(cart.settings, command);
    const refused =
      command.locations || command.orderLocation
        ? refuseLocations(settings, command.locations ?? [], context)
        : undefined;
    if (refused) return refused;
    if (isSame(settings, withDefaults(cart.settings)))
      return accept([], 'Nothing to do: the settings are like this already.');
    return acceptOne(stream, { type: 'CartChanged', data: settings });
  },
};

export const switchCartHandler: Handler<Of<'SwitchCart'>> = {
  streams: (c) => [cartStream(c.cartId)],
  decide: ({ cartId, on, needsProbe = false, unprobed }, context) => {
    const cart = cartState(cartId, context);
    if (cart === null) return unknownCart(cartId);
    if (cart.on === on) return accept([], `Nothing to do: the cart is switched ${on ? 'on' : 'off'} already.`);
    const refused = on && needsProbe && unprobed === undefined ? refuseUnprobed(cart) : undefined;
    if (refused) return refused;
    const generation = on ? cart.generation + 1 : cart.generation;
    const why = on && unprobed !== undefined ? { unprobed } : {};
    return acceptOne(cartStream(cartId), { type: 'CartSwitched', data: { cartId, on, generation, ...why } });
  },
};

/** What a cart does with a change can be tried; what it did with a thousand cannot be taken back. */
function refuseUnprobed({ settings, probe, scriptVersion = probe?.scriptVersion }: CartState): Refused | undefined {
  const { cartId, type } = settings;
  if (!probe) {
    return refuse(
      'not-allowed-now',
      `Carts of the type ${type} differ in what they do with a change, so one is probed before it is switched on: ` +
        `POST /v1/carts/${cartId}/probe, or onhand carts probe ${cartId} --sku SKU. ` +
        'To do without, say why in "unprobed".',
      'on',
    );
  }
  if (scriptVersion !== probe.scriptVersion) {
    return refuse(
      'not-allowed-now',
      `The script of this cart is of version ${scriptVersion} now, and was probed at version ${probe.scriptVersion}: what it does may ` +
        `have changed. Probe it again: POST /v1/carts/${cartId}/probe, or onhand carts probe ${cartId} --sku SKU. ` +
        'To do without, say why in "unprobed".',
      'on',
    );
  }
  const { unusable } = probe.found;
  if (unusable === null) return undefined;
  return refuse('not-allowed-now', `The last probe says why this cart cannot be switched on: ${unusable}`, 'on');
}

/** Only of a cart that was probed: of another one there is nothing that a version could outdate. */
export const seeScriptVersionHandler: Handler<Of<'SeeScriptVersion'>> = {
  streams: ({ cartId }) => [cartStream(cartId)],
  decide: ({ cartId, scriptVersion }, context) => {
    const cart = cartState(cartId, context);
    if (cart === null) return unknownCart(cartId);
    const known = cart.probe && (cart.scriptVersion ?? cart.probe.scriptVersion);
    if (!known || known === scriptVersion) return accept([], 'Nothing to do: the version is known.');
    return acceptOne(cartStream(cartId), { type: 'ScriptVersionSeen', data: { cartId, scriptVersion } });
  },
};

/** The findings, and the one setting that follows from them. Which way deltas take is worked out wherever it is asked. */
export const recordProbeHandler: Handler<Of<'RecordProbe'>> = {
  streams: ({ probe }) => [cartStream(probe.cartId)],
  decide: ({ probe }, context) => {
    const cart = cartState(probe.cartId, context);
    if (cart === null) return unknownCart(probe.cartId);
    if (!isProbeOf(probe, cart.settings))
      return refuse('not-allowed-now', 'The cart was moved while it was probed; probe it again.', 'probe');
    const { clampsAtZero } = probe.found;
    const probed: Fact = { type: 'CartProbed', data: probe };
    const facts: Fact[] =
      clampsAtZero === null || clampsAtZero === cart.settings.clampsAtZero
        ? [probed]
        : [probed, { type: 'CartChanged', data: { ...cart.settings, clampsAtZero } }];
    return accept(facts.map((fact) => ({ stream: cartStream(probe.cartId), fact, occurredAt: null })));
  },
};

export const mapListingsHandler: Handler<Of<'MapListings'>> = {
  streams: (c) => [cartStream(c.cartId)],
  checks: (c) => c.rows.map(({ sku }) => itemStream(sku)),
  decide: ({ cartId, rows }, context) => {
    if (cartState(cartId, context) === null) return unknownCart(cartId);
    const refused = refuseRowCount(rows.length, 'rows');
    if (refused) return refused;
    if (rows.length === 0) return accept([], 'Nothing to do: there are no rows.');
    // A slip of the finger here would take the pieces of every later order from a SKU that nobody looks at.
    const unknown = rows.find(({ sku }) => !context.exists(itemStream(sku)));
    if (unknown)
      return refuse('unknown-item', `There is no item with the SKU ${unknown.sku}; create it first.`, 'rows');
    return acceptOne(cartStream(cartId), { type: 'ListingsMapped', data: { cartId, rows } });
  },
};

export const baselineListingsHandler: Handler<Of<'BaselineListings'>> = {
  streams: (c) => [cartStream(c.cartId)],
  kits: (c) => (c.resets ?? []).map(({ sku }) => sku),
  stockStreams: (c, stateOf) => resetsOf(c, stateOf).map(({ stream }) => stream),
  asOfReads: (c, stateOf) => {
    if (Number.isNaN(Date.parse(c.at))) return [];
    return resetsOf(c, stateOf).map(({ stream }) => ({ stream, asOf: isoTime(c.at) }));
  },
  decide: decideBaseline,
};

/** Where we follow the cart, its stock at the order location is reset in the same transaction as the baseline. */
function decideBaseline(command: Of<'BaselineListings'>, context: DecisionContext): Decision {
  const { cartId, kind, mark } = command;
  const cart = cartState(cartId, context);
  if (cart === null) return unknownCart(cartId);
  const resets = command.resets ?? [];
  const moved = new Set(
    resetsOf(command, context.stateOf)
      .filter(({ stream, version }) => context.versionOf(stream) !== version)
      .map(({ sku }) => sku),
  );
  const rows = command.rows.filter(({ sku }) => !moved.has(sku));
  const refused =
    refuseRowCount(command.rows.length, 'rows') ??
    refuseRowCount(resets.length, 'resets') ??
    refuseTime(command.at, context.now, 'at') ??
    (kind === 'write' && resets.length > 0
      ? refuse('not-allowed-now', 'A baseline made by a write resets no stock: there the cart follows us.', 'resets')
      : undefined) ??
    resets.map(({ difference }) => refuseQuantity(difference, -quantityMax, 'difference')).find((r) => r !== undefined);
  if (refused) return refused;
  if (rows.length === 0) return accept([], 'Nothing to do: there are no rows.');

  const at = isoTime(command.at);
  const decided = resetsOf(command, context.stateOf)
    .filter(({ sku }) => !moved.has(sku))
    .map((reset) => ({ key: reset.key, ...decideReset(reset, cart, at, context, command.reason) }));
  const takenOver = new Map(decided.map(({ key, facts }) => [key, deltaOf(facts)]));
  const baselined: Fact = {
    type: 'ListingsBaselined',
    data: {
      cartId,
      // Off, the baseline is made for the generation that switching on will begin.
      generation: cart.on ? cart.generation : cart.generation + 1,
      kind,
      at,
      mark,
      rows: rows.map((row) => {
        const delta = takenOver.get(row.key) ?? 0;
        return delta === 0 ? row : { ...row, takenOver: delta };
      }),
      ...reasonOf(command),
      ...(command.run !== undefined && { run: command.run }),
    },
  };
  const notes = new Set(decided.map(({ note }) => note).filter((note) => note !== undefined));
  // Resets first: where the baseline stands, on hand is what the cart shows already, and nothing is owed to it.
  const facts: DecidedFact[] = decided.flatMap((reset) => reset.facts);
  return accept(
    [...facts, { stream: cartStream(cartId), fact: baselined, occurredAt: null }],
    notes.size === 0 ? undefined : [...notes].join(' '),
  );
}

/** On hand as of the reading, as it is known under the stock's lock, and what the cart shows beyond it. */
function decideReset(
  { sku, difference, stream }: BaselineReset & { readonly stream: StreamName },
  { settings }: CartState,
  at: string,
  context: DecisionContext,
  reason = 'taken over from cart',
): Accepted {
  return decideCount(
    {
      type: 'ResetStock',
      sku,
      location: settings.orderLocation,
      quantity: stockState(context, stream).onHand - context.movedAfter(stream, at).delta + difference,
      asOf: at,
      knows: [`cart:${settings.cartId}`],
      source: `cart:${settings.cartId}`,
      reason,
    },
    context,
  );
}

const reasonOf = ({ reason }: Of<'BaselineListings'>) => (reason === undefined ? {} : { reason });

const deltaOf = (facts: Accepted['facts']) =>
  facts.reduce((sum, { fact }) => (fact.type === 'StockReset' ? sum + fact.data.delta : sum), 0);

/** One reset per SKU; of several rows for the same SKU the last one is meant. */
function resetsOf(command: Of<'BaselineListings'>, stateOf: (stream: StreamName) => unknown) {
  const cart = stateOf(cartStream(command.cartId)) as CartState | null;
  if (cart === null) return [];
  // What a cart shows of a kit is no stock that could be taken over.
  const resets = (command.resets ?? []).filter(({ sku }) => componentsOf(sku, stateOf).length === 0);
  const bySku = new Map(resets.map((reset) => [reset.sku, reset]));
  return [...bySku.values()].map((reset) => ({
    ...reset,
    stream: stockStream(cart.settings.orderLocation, reset.sku),
  }));
}

export const discardRecordsHandler: Handler<Of<'DiscardRecords'>> = {
  streams: (c) => [cartStream(c.cartId)],
  decide: ({ cartId, key, recordIds, reason, by, quantity }, context) => {
    if (cartState(cartId, context) === null) return unknownCart(cartId);
    const refused = refuseRowCount(recordIds.length, 'recordIds');
    if (refused) return refused;
    return acceptOne(cartStream(cartId), {
      type: 'RecordsDiscarded',
      data: { cartId, key, recordIds, reason, by, quantity },
    });
  },
};

/** What a cart shows or sells and nobody knows here; a fact each, beside the cart's settings. */
export const meetUnknownSkusHandler: Handler<Of<'MeetUnknownSkus'>> = {
  streams: (c) => [cartStream(c.cartId)],
  decide: ({ cartId, rows }, context) => {
    if (cartState(cartId, context) === null) return unknownCart(cartId);
    const refused = refuseRowCount(rows.length, 'rows');
    if (refused) return refused;
    if (rows.length === 0) return accept([], 'Nothing to do: there are no rows.');
    return acceptOne(cartStream(cartId), { type: 'UnknownSkusMet', data: { cartId, rows } });
  },
};

export const ignoreUnknownSkuHandler: Handler<Of<'IgnoreUnknownSku'>> = {
  streams: (c) => [cartStream(c.cartId)],
  decide: ({ cartId, key, reason, by }, context) => {
    if (cartState(cartId, context) === null) return unknownCart(cartId);
    return acceptOne(cartStream(cartId), { type: 'UnknownSkuIgnored', data: { cartId, key, reason, by } });
  },
};

export const heedUnknownSkuHandler: Handler<Of<'HeedUnknownSku'>> = {
  streams: (c) => [cartStream(c.cartId)],
  decide: ({ cartId, key, by }, context) => {
    if (cartState(cartId, context) === null) return unknownCart(cartId);
    return acceptOne(cartStream(cartId), { type: 'UnknownSkuHeeded', data: { cartId, key, by } });
  },
};

export const decidePushHandler: Handler<Of<'DecidePush'>> = {
  streams: (c) => [cartStream(c.cartId)],
  decide: ({ type: _type, ...decision }, context) =>
    cartState(decision.cartId, context) === null
      ? unknownCart(decision.cartId)
      : acceptOne(cartStream(decision.cartId), { type: 'PushDecided', data: decision }),
};

export const switchSystemHandler: Handler<Of<'SwitchSystem'>> = {
  streams: () => [systemStream],
  decide: ({ on }, context) => {
    const system = context.stateOf(systemStream) as SystemState | null;
    if (system?.on === on) return accept([], `Nothing to do: the system is switched ${on ? 'on' : 'off'} already.`);
    return acceptOne(systemStream, { type: 'SystemSwitched', data: { on } });
  },
};

const cartState = (cartId: string, context: DecisionContext) => context.stateOf(cartStream(cartId)) as CartState | null;
const unknownCart = (cartId: string) => refuse('unknown-cart', `There is no cart ${cartId}; add it first.`, 'cartId');
const acceptOne = (stream: StreamName, fact: Fact) => accept([{ stream, fact, occurredAt: null }]);

/** Picks the fields one by one: whatever else came with the command (a password, say) must not enter the log. */
function settingsOf(command: Of<'AddCart'>): CartSettings {
  const { cartId, name, connector, url, username, storeCode, locations, orderLocation } = command;
  const {
    requestTimeoutMs,
    quietTimeMs,
    pollIntervalMs,
    clampsAtZero,
    delivery = null,
    ordersFrom = null,
    driftPolicy = 'report',
    guard = usualGuard,
    cadence = realTime,
    kits = 'kit',
  } = command;
  return {
    cartId,
    name,
    type: connector,
    url,
    username,
    storeCode,
    locations,
    orderLocation,
    requestTimeoutMs,
    quietTimeMs,
    pollIntervalMs,
    clampsAtZero,
    delivery,
    driftPolicy,
    guard,
    cadence,
    kits,
    ordersFrom,
  };
}

/** Takes only what is a setting already, for the same reason; the identity and the connector of a cart never change. */
function settingsAfter(before: CartSettings, command: Of<'ChangeCart'>): CartSettings {
  const { type: _type, cartId: _cartId, ...changes } = command;
  const known = withDefaults(before);
  const given = Object.entries(changes).filter(([name, value]) => name in known && value !== undefined);
  return { ...known, ...Object.fromEntries(given), cartId: before.cartId, type: before.type };
}

/** Carts that were added before there was such a setting. */
const withDefaults = (settings: CartSettings): CartSettings => ({
  driftPolicy: 'report',
  guard: usualGuard,
  cadence: realTime,
  ...settings,
});

const realTime: Cadence = { kind: 'real-time' };

/** Field by field, because what was stored as JSON comes back with its keys in another order. */
const isSame = (a: CartSettings, b: CartSettings) =>
  (Object.keys(a) as (keyof CartSettings)[]).every((key) => JSON.stringify(a[key]) === JSON.stringify(b[key]));

function refuseLocations(
  settings: CartSettings,
  added: readonly string[],
  context: DecisionContext,
): Refused | undefined {
  if (!settings.locations.includes(settings.orderLocation)) {
    return refuse(
      'not-allowed-now',
      `The cart's orders take their pieces at ${settings.orderLocation}, which is not one of its locations.`,
      'orderLocation',
    );
  }
  return added
    .map((location) => refuseUnknownLocation(location, context, 'locations'))
    .find((refused) => refused !== undefined);
}
