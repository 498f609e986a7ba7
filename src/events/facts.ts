/**
 * Everything that can have happened. A fact is written once and never changes; whoever reads an old shape upcasts it
 * (upcasters.ts). Names are past tense, quantities are whole units, times are ISO 8601 in UTC with milliseconds.
 *
 * Three kinds live in one log: movements (they change on hand), papers (orders and transfers, which explain movements)
 * and settings (carts, switches, baselines, corrections). Settings are facts so that any published number can be proven
 * as of any moment: they take effect exactly where they stand in the global order.
 */

import type { KitFact, KitPart } from './kit.js';
import type { CalendarFact, RuleSetFact } from './rule.js';

export interface Reference {
  readonly kind: 'purchase-order' | 'order' | 'transfer' | 'count' | 'file' | 'other';
  readonly number: string;
  readonly line?: string;
}

/**
 * Who took an order. Order numbers are unique within it: phone order 7 and order 7 of a cart are two orders. Only a cart
 * moves stock of its own, so only its orders echo; of any other order every cart is told.
 */
export type OrderSource = `cart:${string}` | OtherOrigin;
/** Orders that no cart of ours took: by phone (or mail), over a counter, or at a marketplace that is not connected. */
export type OtherOrigin = 'phone' | 'store' | 'marketplace';
export type OrderOrigin = 'cart' | OtherOrigin;

/** The cart that took an order; null: no cart did. */
export const cartOf = (source: OrderSource): string | null =>
  source.startsWith('cart:') ? source.slice('cart:'.length) : null;

export const originOf = (source: OrderSource): OrderOrigin =>
  (source.startsWith('cart:') ? 'cart' : source) as OrderOrigin;

/**
 * Who told us. A count or a file states which sources it already knew of (`knows`); what such a source tells later about
 * the time before is "already in the count". `direct` is whatever people and points of sale post to us themselves,
 * `file:<name>` a daily reset, the others the orders of one cart or one other origin.
 */
export type Source = 'direct' | OrderSource | `file:${string}`;

/** What every movement carries. `delta` was computed under the stream's lock, so projections only ever add. */
export interface Movement {
  readonly sku: string;
  readonly location: string;
  /** Change of on hand. */
  readonly delta: number;
  /** Change of the pieces in open order lines (sold, not yet shipped or closed). */
  readonly openDelta: number;
  readonly reason: string | null;
  readonly reference: Reference | null;
  readonly source: Source;
  /** The kit that these pieces were sold or brought back in. */
  readonly kit?: string;
}

export type MovementFact =
  | { readonly type: 'StockReceived'; readonly data: Movement }
  | { readonly type: 'StockSold'; readonly data: Movement }
  /** A return that cannot be sold again has delta 0: it is on record and not on hand. */
  | {
      readonly type: 'StockReturned';
      readonly data: Movement & { readonly resellable: boolean; readonly quantity: number };
    }
  | { readonly type: 'StockAdjusted'; readonly data: Movement }
  | {
      readonly type: 'StockCounted' | 'StockReset';
      readonly data: Movement & {
        /** What was found, as counted or as the file says. */
        readonly quantity: number;
        /** The moment the number speaks of. */
        readonly asOf: string;
        /** Whether pieces of open order lines were still in the number, and were therefore subtracted. */
        readonly includesOpenOrders: boolean;
        readonly knows: readonly Source[];
        /** Where the number knew of no orders: since when what they took is subtracted. Most facts have none. */
        readonly ordersSince?: string;
      };
    }
  /** The opposite of a movement that the last count already had: recorded with it, in the same append, net zero. */
  | {
      readonly type: 'CountCorrected';
      readonly data: Movement & { readonly countedAsOf: string; readonly countedVersion: string };
    }
  /** One leg of a transfer: out of a shop or into transit, out of transit or into the next shop. */
  | { readonly type: 'StockTransferred'; readonly data: Movement }
  /** An open order line was shipped, filled or closed: delta 0, openDelta negative. */
  | { readonly type: 'OrderLineClosed'; readonly data: Movement };

export interface TransferLine {
  readonly sku: string;
  readonly quantity: number;
}

export type TransferFact =
  | {
      readonly type: 'TransferShipped';
      readonly data: {
        readonly transfer: string;
        readonly from: string;
        readonly to: string;
        readonly lines: readonly TransferLine[];
      };
    }
  | {
      readonly type: 'TransferReceived';
      readonly data: {
        readonly transfer: string;
        readonly lines: readonly TransferLine[];
        /** Pieces written off because the transfer was closed short. */
        readonly short: readonly TransferLine[];
        readonly closed: boolean;
      };
    };

export type OrderState = 'open' | 'shipped' | 'closed' | 'cancelled';

export interface OrderLine {
  readonly line: string;
  readonly sku: string;
  /** The cart's own key of what was sold; the same as `sku` where no cart sold it. */
  readonly key: string;
  readonly location: string;
  readonly quantity: number;
  /** Of a kit: the plain items in one of it when the line was first seen. Whatever becomes of the line moves these. */
  readonly parts?: readonly KitPart[];
  /** What the cart calls it; kept where its key was no item of ours and not mapped, so that somebody can tell what it is. */
  readonly title?: string;
}

/** What one line changed against the revision before, and what of that the cart did to its own stock by itself. */
export interface OrderDifference {
  readonly line: string;
  readonly sku: string;
  readonly key: string;
  readonly location: string;
  readonly delta: number;
  readonly openDelta: number;
  /** The echo: what the cart has already applied to the listing `key` itself. 0 where it moves no stock. */
  readonly echoDelta: number;
  /** Instead, at a cart that lowers a kit's components itself: what it has applied to its listings of these items. */
  readonly partEchoes?: readonly { readonly sku: string; readonly delta: number }[];
}

/** When the cart's order feed showed the order: it was placed after one poll began and before another one ended. */
export interface OrderSighting {
  /** Start of the last poll that did not show it yet; null when there was none. */
  readonly after: string | null;
  /** End of the poll (or arrival of the webhook) that showed it. */
  readonly by: string;
}

export type OrderFact =
  | {
      readonly type: 'OrderImported';
      readonly data: {
        readonly source: OrderSource;
        readonly number: string;
        readonly revision: number;
        readonly placedAt: string;
        readonly state: OrderState;
        /** The whole order as it is now. */
        readonly lines: readonly OrderLine[];
        readonly differences: readonly OrderDifference[];
        readonly sighting: OrderSighting;
      };
    }
  /** A cancel that came before the order it cancels. */
  | {
      readonly type: 'OrderCancelKept';
      readonly data: { readonly source: OrderSource; readonly number: string; readonly revision: number };
    }
  | {
      /** Filled: pieces that are there were given to the line. Closed: it will get none. */
      readonly type: 'OrderShipped' | 'OrderFilled' | 'OrderClosed';
      readonly data: {
        readonly source: OrderSource;
        readonly number: string;
        readonly lines: readonly { readonly line: string; readonly quantity: number }[];
        /** Whether no piece of the order is open any more. */
        readonly complete: boolean;
      };
    };

/** Both tell the whole item. */
export type ItemFact = {
  readonly type: 'ItemCreated' | 'ItemChanged';
  readonly data: {
    readonly sku: string;
    readonly title: string;
    /** As printed on the item; several items may share one, as in real shops. */
    readonly barcode: string | null;
    /** Its number at Shopify, by which other programs may call it; a fact older than this field has none. */
    readonly shopifyProductId?: string | null;
    /** Sorted, each once, in small letters. */
    readonly tags: readonly string[];
    /** Inactive is out of sight, not out of stock: movements and orders go on as before. */
    readonly active: boolean;
  };
};

export type LocationFact = {
  readonly type: 'LocationAdded' | 'LocationChanged';
  readonly data: {
    readonly location: string;
    readonly name: string;
    /** What other programs call it, such as a point of sale's facility; a fact older than this field has none. */
    readonly otherCodes?: readonly string[];
  };
};

/** The ways in which a delta takes effect once at a cart, the strongest first. */
export const deliveryWays = ['idempotency-key', 'compare-and-set', 'settlement', 'set-only'] as const;
export type DeliveryWay = (typeof deliveryWays)[number];

/**
 * When a cart is told of changes: at once, at the moments of a cron pattern in a time zone, or only when somebody says so.
 * What comes in between waits and merges.
 */
export type Cadence =
  | { readonly kind: 'real-time' }
  | { readonly kind: 'cron'; readonly pattern: string; readonly timeZone: string }
  | { readonly kind: 'on-demand' };

export const kitStockAt = ['kit', 'components'] as const;
export type KitStockAt = (typeof kitStockAt)[number];

/** How a script is asked for new orders: above a number, or from a day on. `ask`: see seti-protocol.ts. */
export type OrdersBy = { readonly by: 'number' } | { readonly by: 'date'; readonly ask: 'All-' | 'All/' | '-' | '/' };

/** Orders of before that the first poll of a cart imports: those above a number, or placed on a day or later. */
export type OrdersFrom = { readonly number: string } | { readonly date: string };

/** Everything about a cart but its secret, which never enters the log. */
export interface CartSettings {
  readonly cartId: string;
  readonly name: string;
  readonly type: string;
  readonly url: string;
  readonly username: string;
  readonly storeCode: string;
  /** Whose stock the cart sells. */
  readonly locations: readonly string[];
  /** Where its orders take their pieces; one of `locations`. */
  readonly orderLocation: string;
  readonly requestTimeoutMs: number;
  readonly quietTimeMs: number;
  readonly pollIntervalMs: number;
  /** Whether the cart lowers a quantity to 0 at most: its type's capability when it was added, or what a probe found. */
  readonly clampsAtZero: boolean;
  /** How deltas are delivered to it; null: in the strongest way that its type knows. */
  readonly delivery: DeliveryWay | null;
  /** What is done about a listing that is found to show something else than it should. Left out in older facts: reported. */
  readonly driftPolicy?: DriftPolicy | undefined;
  /** How much of the cart one push may bring to zero or inflate; more is held until a person lets it through. */
  readonly guard?: CartGuard | undefined;
  /** Left out in older facts: real time. */
  readonly cadence?: Cadence | undefined;
  /** Whose quantity the cart itself lowers when it sells a kit: the kit's own, or its components'. */
  readonly kits: KitStockAt;
  /** null: nothing that was sold before it was connected; a fact older than this field has none. */
  readonly ordersFrom?: OrdersFrom | null;
}

export interface CartGuard {
  readonly listingsMax: number;
  /** Of its synchronised listings. */
  readonly sharePercent: number;
}

/** Of carts that state none. */
export const usualGuard: CartGuard = { listingsMax: 1_000, sharePercent: 30 };

/** How changes are written in SETI: pairs of SKU and number, or a document of `Product` with `SKU` and `QOH`. */
export type UpdateForm = 'plain' | 'xml';

/** What a conformance probe saw a cart do. null: it could not be told, so what the cart's type declares stands. */
export interface ProbeFound {
  /** The strongest way in which deltas may be delivered; null where no change came through at all. */
  readonly delivery: DeliveryWay | null;
  readonly clampsAtZero: boolean | null;
  /** Whether a SKU with a tilde in it is understood as a whole. */
  readonly tildeInKeys: boolean | null;
  /** Whether two readings of everything named the same items. */
  readonly listingStable: boolean | null;
  /** Whether an item that the cart does not have was answered as if it had been changed. */
  readonly unknownAnsweredOk: boolean | null;
  readonly losesParallelChanges: boolean | null;
  readonly functionsMissing: readonly string[];
  /** Left out by probes that did not ask yet. */
  readonly orders?: OrdersBy | null;
  /** How changes have to be written for this script; left out by probes that did not ask yet: plain. */
  readonly updates?: UpdateForm;
  /** Why the cart must not be switched on; null: nothing speaks against it. */
  readonly unusable: string | null;
}

/** What was found, and what follows from it, in a sentence each. */
export interface ProbeFinding {
  readonly about: string;
  readonly saw: string;
  readonly follows: string;
}

export interface CartProbe {
  readonly cartId: string;
  readonly probeId: string;
  /** When it ended. */
  readonly at: string;
  readonly scriptVersion: string;
  /** What was probed: at another address, or in another store, the findings say nothing. */
  readonly url: string;
  readonly storeCode: string;
  readonly key: string;
  readonly found: ProbeFound;
  readonly findings: readonly ProbeFinding[];
  /** What was asked and answered, shortened, without secrets. */
  readonly evidence: readonly { readonly step: string; readonly asked: string; readonly answered: string }[];
  readonly by: string;
}

/** Whether findings still speak of the cart as it is set now. */
export const isProbeOf = (probe: Pick<CartProbe, 'url' | 'storeCode'>, settings: CartSettings) =>
  probe.url === settings.url && probe.storeCode === settings.storeCode;

/** report: a person decides. repair: the cart follows, by a delta; set-to-target: by the whole sequence of Send on a held lane. take-over: we follow. */
export const driftPolicies = ['report', 'repair', 'set-to-target', 'take-over'] as const;
export type DriftPolicy = (typeof driftPolicies)[number];

/** One listing whose quantity was read between two looks at the orders that showed nothing new for it. */
export interface BaselineRow {
  readonly key: string;
  readonly sku: string;
  /** What the cart showed; null where it does not track the item's stock. */
  readonly quantity: number | null;
  /** false: the cart lists everything but this item, so nothing is sent until somebody looks again. */
  readonly listed?: false | undefined;
  /**
   * The delivery whose line on this listing was in doubt and of which nothing can be under way any more: the quantity
   * shows what became of it, so the baseline ends that line.
   */
  readonly settles?: string | undefined;
  /** What our stock took over from this listing in the same transaction; left out where that is nothing. */
  readonly takenOver?: number | undefined;
}

/** Our stock follows a cart by what its listing shows beyond what it should show. */
export interface BaselineReset {
  readonly key: string;
  readonly sku: string;
  readonly difference: number;
  /** The stock's version at the cart's order location that the difference was worked out with. */
  readonly version: string;
}

export type CartFact =
  | { readonly type: 'CartAdded' | 'CartChanged'; readonly data: CartSettings }
  | { readonly type: 'CartProbed'; readonly data: CartProbe }
  /** The script is of another version than the one that was probed, or seen last. */
  | { readonly type: 'ScriptVersionSeen'; readonly data: { readonly cartId: string; readonly scriptVersion: string } }
  /** `generation` is one more each time the cart is switched on. */
  | {
      readonly type: 'CartSwitched';
      readonly data: {
        readonly cartId: string;
        readonly on: boolean;
        readonly generation: number;
        /** Why somebody switched a cart on that should have been probed and was not. */
        readonly unprobed?: string | undefined;
      };
    }
  /** The keys by which a cart knows our items; a listing exists from here on. */
  | {
      readonly type: 'ListingsMapped';
      readonly data: {
        readonly cartId: string;
        readonly rows: readonly { readonly key: string; readonly sku: string }[];
      };
    }
  /**
   * Listings were made equal: by `write` the cart follows us (what differs is owed from here on as deltas), by `get` we
   * follow the cart. Orders up to `mark` (or placed until `at`) were in the quantity already.
   */
  | {
      readonly type: 'ListingsBaselined';
      readonly data: {
        readonly cartId: string;
        readonly generation: number;
        readonly kind: 'write' | 'get';
        readonly at: string;
        readonly mark: string | null;
        readonly rows: readonly BaselineRow[];
        /** Why, where it corrects what was found; left out where a person asked for Send or Get. */
        readonly reason?: string | undefined;
        /** The Send or Get run it is a part of: what it makes owed goes behind everything else. */
        readonly run?: string | undefined;
      };
    }
  /** A person decided on a push that the guard holds. */
  | {
      readonly type: 'PushDecided';
      readonly data: {
        readonly push: string;
        readonly cartId: string;
        readonly verdict: 'let-through' | 'rejected';
        readonly by: string;
        readonly reason: string;
      };
    }
  /** A person gave records up. `quantity` is what the cart showed then; null: it could not be read, the listing is unlisted. */
  | {
      readonly type: 'RecordsDiscarded';
      readonly data: {
        readonly cartId: string;
        readonly key: string;
        readonly recordIds: readonly string[];
        readonly reason: string;
        readonly by: string;
        readonly quantity: number | null;
      };
    };

/** Keys of a cart that are no item of ours and not mapped. Those that orders name are in the orders themselves. */
export type UnknownSkuFact =
  | {
      readonly type: 'UnknownSkusMet';
      readonly data: {
        readonly cartId: string;
        readonly rows: readonly { readonly key: string; readonly title: string | null }[];
      };
    }
  /** A person wants it out of sight; meeting it again does not bring it back. */
  | {
      readonly type: 'UnknownSkuIgnored';
      readonly data: { readonly cartId: string; readonly key: string; readonly reason: string; readonly by: string };
    }
  | {
      readonly type: 'UnknownSkuHeeded';
      readonly data: { readonly cartId: string; readonly key: string; readonly by: string };
    };

/** Where a daily reset comes from and what its files mean; everything but its secret, which never enters the log. */
export interface ResetSourceSettings {
  readonly sourceId: string;
  readonly name: string;
  /** Off: no schedule runs; files may still be sent by hand. */
  readonly on: boolean;
  readonly from:
    | { readonly kind: 'upload' }
    /** A folder below the one that the hub allows. */
    | { readonly kind: 'folder'; readonly folder: string }
    | {
        readonly kind: 'sftp';
        readonly host: string;
        readonly port: number;
        readonly username: string;
        readonly folder: string;
        /** SHA256:…, as a person confirmed it; null: nobody has, and nothing is fetched. */
        readonly hostKey: string | null;
      };
  /** Which files of the folder: a name with `*` and `?`. */
  readonly files: string;
  readonly schedule:
    | { readonly kind: 'daily'; readonly at: string; readonly lateMinutes: number }
    | { readonly kind: 'every'; readonly minutes: number }
    | { readonly kind: 'by-hand' };
  readonly timeZone: string;
  /** What tells the moment that the numbers speak of. */
  readonly moment:
    | { readonly kind: 'file-time'; readonly minutesBefore: number }
    | { readonly kind: 'name'; readonly pattern: string }
    | { readonly kind: 'column'; readonly column: string };
  /** A file is read once its size and time have stood still for so long. */
  readonly settleSeconds: number;
  /** Whether a file holds every item of its places, so that one may be missed. */
  readonly complete: boolean;
  readonly absent: 'leave' | 'zero';
  readonly zeroInactive: boolean;
  /** Which orders the numbers know of: have taken away already. */
  readonly includesOrders: 'none' | 'shipped' | 'all';
  /** Of `none`: since when orders are not in the numbers. */
  readonly ordersSince: string;
  /** facilityId → location, before locations' own and other codes are looked at. */
  readonly locations: Readonly<Record<string, string>>;
  /** What idValue is where a row does not say. */
  readonly idType: 'SKU' | 'UPCA' | 'Shopify_Prod_ID';
  readonly onError: 'stop' | 'skip';
  /** `must-end`: a last row without a line end may be cut off and is left out. */
  readonly lastLine: 'must-end' | 'may-be-open';
  /** A file that zeroes, raises or loses a larger share of its rows waits for a person. */
  readonly holdAbovePercent: number;
  readonly archive: 'source' | 'hub';
}

export type ResetSourceFact =
  | { readonly type: 'ResetSourceSaved'; readonly data: ResetSourceSettings }
  | { readonly type: 'ResetSourceRemoved'; readonly data: { readonly sourceId: string } };

export type SystemFact = { readonly type: 'SystemSwitched'; readonly data: { readonly on: boolean } };

export type Fact =
  | MovementFact
  | TransferFact
  | OrderFact
  | ItemFact
  | LocationFact
  | CartFact
  | UnknownSkuFact
  | RuleSetFact
  | CalendarFact
  | ResetSourceFact
  | KitFact
  | SystemFact;

/** Facts that change on hand or open pieces; their columns in the log are filled (see event-log.table.ts). */
export const movementTypes = [
  'StockReceived',
  'StockSold',
  'StockReturned',
  'StockAdjusted',
  'StockCounted',
  'StockReset',
  'CountCorrected',
  'StockTransferred',
  'OrderLineClosed',
] as const satisfies readonly MovementFact['type'][];

/** Sources of movements that are orders, for JavaScript and PostgreSQL alike. */
export const orderSourcePattern = /^(cart:|(phone|store|marketplace)$)/;

/** What an order took or gave back, whoever took it; not what a comparison with its cart found. */
export const isOrderMovement = (fact: Fact): boolean =>
  (fact.type === 'StockSold' || fact.type === 'StockReturned') && orderSourcePattern.test(fact.data.source);

const movementTypeSet: ReadonlySet<string> = new Set(movementTypes);

export function isMovement(fact: Fact): fact is MovementFact {
  return movementTypeSet.has(fact.type);
}
