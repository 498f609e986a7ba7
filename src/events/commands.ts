/**
 * What can be asked for. Imperative names; a command is decided whole, in one transaction, or refused whole.
 * `occurredAt` is business time and may be left out: then it is the moment of recording.
 */
import type {
  CartProbe,
  BaselineReset,
  BaselineRow,
  CartSettings,
  KitStockAt,
  OrderSighting,
  OrderSource,
  OrderState,
  Reference,
  ResetSourceSettings,
  Source,
  TransferLine,
} from './facts.js';
import type { KitPart } from './kit.js';
import type { CalendarFact, Rule } from './rule.js';

type DayClosed = CalendarFact['data'];

interface StockCommand {
  readonly sku: string;
  readonly location: string;
  readonly occurredAt?: string | undefined;
  readonly reason?: string | undefined;
  readonly reference?: Reference | undefined;
  /** Default `direct`. */
  readonly source?: Source | undefined;
}

interface ItemFields {
  /** null: it has none any more. */
  readonly barcode?: string | null | undefined;
  /** null: it has none any more. */
  readonly shopifyProductId?: string | null | undefined;
  readonly tags?: readonly string[] | undefined;
  /** Default when created: true. */
  readonly active?: boolean | undefined;
}

/** On top of what the item has, or of `tags` where given. */
interface TagChanges {
  readonly addTags?: readonly string[] | undefined;
  readonly removeTags?: readonly string[] | undefined;
}

export type Command =
  | (StockCommand & { readonly type: 'ReceiveStock' | 'SellStock'; readonly quantity: number })
  | (StockCommand & { readonly type: 'ReturnStock'; readonly quantity: number; readonly resellable: boolean })
  | (StockCommand & { readonly type: 'AdjustStock'; readonly delta: number })
  /** `asOf` defaults to now. `knows` defaults to `['direct']`. A reset is a count that a file or a cart made. */
  | (StockCommand & {
      readonly type: 'CountStock' | 'ResetStock';
      readonly quantity: number;
      readonly asOf?: string | undefined;
      readonly includesOpenOrders?: boolean | undefined;
      readonly knows?: readonly Source[] | undefined;
      /** The number knows of no orders: what they took since then, until `asOf`, is subtracted. */
      readonly ordersSince?: string | undefined;
    })
  | {
      readonly type: 'ShipTransfer';
      readonly transfer: string;
      readonly from: string;
      readonly to: string;
      readonly lines: readonly TransferLine[];
      readonly occurredAt?: string | undefined;
    }
  /** Receives what came; `close` writes off what did not. Without `lines`: everything still in transit. */
  | {
      readonly type: 'ReceiveTransfer';
      readonly transfer: string;
      readonly lines?: readonly TransferLine[] | undefined;
      readonly close: boolean;
      readonly occurredAt?: string | undefined;
    }
  | {
      readonly type: 'ImportOrder';
      readonly source: OrderSource;
      readonly number: string;
      readonly revision: number;
      readonly placedAt?: string | undefined;
      readonly state: OrderState;
      readonly lines: readonly {
        readonly line: string;
        readonly sku: string;
        readonly key: string;
        readonly location: string;
        readonly quantity: number;
        readonly title?: string;
      }[];
      readonly sighting: OrderSighting;
      /** What the cart does to its own stock by itself; decides the echoes. */
      readonly cartMovesStock: {
        readonly at: 'order' | 'payment' | 'fulfilment' | 'never';
        readonly restocksOnCancel: boolean;
        /** Default: the kit. */
        readonly kits?: KitStockAt | undefined;
      };
    }
  /** Keys that were unknown when the order came are these items: its pieces are taken from them, and the cart did nothing. */
  | {
      readonly type: 'ResolveOrderLines';
      readonly source: OrderSource;
      readonly number: string;
      readonly rows: readonly { readonly key: string; readonly sku: string }[];
    }
  /** Without `lines`: every open line; a fill: as many of its pieces as are there. */
  | {
      readonly type: 'ShipOrder' | 'FillOrder' | 'CloseOrder';
      readonly source: OrderSource;
      readonly number: string;
      readonly lines?: readonly { readonly line: string; readonly quantity: number }[] | undefined;
      readonly occurredAt?: string | undefined;
    }
  | ({ readonly type: 'CreateItem'; readonly sku: string; readonly title: string } & ItemFields)
  /** Fields left out stay as they are. */
  | ({ readonly type: 'ChangeItem'; readonly sku: string; readonly title?: string | undefined } & ItemFields &
      TagChanges)
  /** Creates the item, or changes it where there is one: what a row of a file asks for. A new item needs a title. */
  | ({ readonly type: 'SaveItem'; readonly sku: string; readonly title?: string | undefined } & ItemFields)
  | {
      readonly type: 'AddLocation';
      readonly location: string;
      readonly name: string;
      readonly otherCodes?: readonly string[] | undefined;
    }
  /** Fields left out stay as they are. */
  | {
      readonly type: 'ChangeLocation';
      readonly location: string;
      readonly name?: string | undefined;
      readonly otherCodes?: readonly string[] | undefined;
    }
  /** `connector` becomes the `type` of the cart's settings, a name that the command needs for itself. */
  | ({ readonly type: 'AddCart'; readonly connector: string } & Omit<CartSettings, 'type' | 'delivery' | 'kits'> &
      Partial<Pick<CartSettings, 'delivery' | 'kits'>>)
  /** Fields left out stay as they are; a cart's kind of connector cannot change. */
  | ({ readonly type: 'ChangeCart'; readonly cartId: string } & Partial<Omit<CartSettings, 'cartId' | 'type'>>)
  | {
      readonly type: 'SwitchCart';
      readonly cartId: string;
      readonly on: boolean;
      /** Carts of this type differ so much that one has to be probed before it is switched on. */
      readonly needsProbe?: boolean | undefined;
      /** Why it is switched on all the same. */
      readonly unprobed?: string | undefined;
    }
  | { readonly type: 'RecordProbe'; readonly probe: CartProbe }
  /** The cart told its script's version; a fact only where it is another one than before. */
  | { readonly type: 'SeeScriptVersion'; readonly cartId: string; readonly scriptVersion: string }
  | {
      readonly type: 'MapListings';
      readonly cartId: string;
      readonly rows: readonly { readonly key: string; readonly sku: string }[];
    }
  | {
      readonly type: 'BaselineListings';
      readonly cartId: string;
      readonly kind: 'write' | 'get';
      readonly at: string;
      readonly mark: string | null;
      readonly rows: readonly BaselineRow[];
      readonly reason?: string | undefined;
      /** Of which Send or Get run it is a part. */
      readonly run?: string | undefined;
      /**
       * For `get`: what the stock at the cart's order location takes over, decided in the same transaction. Where that stock
       * has moved since the difference was worked out, the listing is left out: the movement may be a sale that the reading
       * had, or one that it had not.
       */
      readonly resets?: readonly BaselineReset[] | undefined;
    }
  | {
      readonly type: 'DiscardRecords';
      readonly cartId: string;
      readonly key: string;
      readonly recordIds: readonly string[];
      readonly reason: string;
      readonly by: string;
      readonly quantity: number | null;
    }
  | {
      readonly type: 'MeetUnknownSkus';
      readonly cartId: string;
      readonly rows: readonly { readonly key: string; readonly title: string | null }[];
    }
  | {
      readonly type: 'IgnoreUnknownSku';
      readonly cartId: string;
      readonly key: string;
      readonly reason: string;
      readonly by: string;
    }
  | { readonly type: 'HeedUnknownSku'; readonly cartId: string; readonly key: string; readonly by: string }
  /** Creates the rule, or puts it in the place of the one with its id. */
  | { readonly type: 'SaveRule'; readonly rule: Rule; readonly by: string }
  | { readonly type: 'RemoveRule'; readonly ruleId: string; readonly by: string }
  /** `from`: the version of the rule set in which it was like this. */
  | { readonly type: 'RestoreRule'; readonly rule: Rule; readonly from: string; readonly by: string }
  /** Makes an item a kit, or another kit: `components` is all of it. */
  | {
      readonly type: 'SetKit';
      readonly sku: string;
      readonly components: readonly KitPart[];
      readonly by: string;
    }
  | { readonly type: 'RemoveKit'; readonly sku: string; readonly by: string }
  | { readonly type: 'CloseDay'; readonly day: string; readonly slowestCart: DayClosed['slowestCart'] }
  /** The whole of its settings. `isNew`: refused where there is one of this id. */
  | { readonly type: 'SaveResetSource'; readonly settings: ResetSourceSettings; readonly isNew: boolean }
  | { readonly type: 'RemoveResetSource'; readonly sourceId: string }
  | {
      readonly type: 'DecidePush';
      readonly push: string;
      readonly cartId: string;
      readonly verdict: 'let-through' | 'rejected';
      readonly by: string;
      readonly reason: string;
    }
  | { readonly type: 'SwitchSystem'; readonly on: boolean };

/** A command with who asked and how often it may have been sent. */
export interface CommandEnvelope {
  /** The API key's id, or the name of one of our own processes (`order-import`). Idempotency keys belong to it. */
  readonly client: string;
  readonly idempotencyKey: string | null;
  /** SHA-256 of the canonical request; compared when the key comes again. Null without a key. */
  readonly bodyHash: Buffer | null;
  readonly command: Command;
  /** What its facts name as their cause where it has no key; a random name where left out. */
  readonly cause?: string | undefined;
  /** Honoured where given: the version of the (first) stream the command decides on. '0' means: does not exist yet. */
  readonly expectedVersion?: string | undefined;
}

/** Stable names of refusals; the API turns them into problem types of the same name. */
export type RefusalCode =
  | 'unknown-item'
  | 'unknown-location'
  | 'unknown-cart'
  | 'unknown-order'
  | 'unknown-transfer'
  | 'unknown-rule'
  | 'unknown-reset-source'
  | 'unknown-kit'
  | 'item-is-kit'
  | 'kit-not-possible'
  | 'already-exists'
  | 'version-conflict'
  | 'not-enough-in-transit'
  | 'not-enough-there'
  | 'transfer-closed'
  | 'time-in-future'
  | 'quantity-out-of-range'
  | 'not-allowed-now'
  | 'idempotency-key-reused';

export interface Refusal {
  readonly code: RefusalCode;
  /** A sentence that says what to do. */
  readonly detail: string;
  /** The field of the command it is about. */
  readonly field?: string | undefined;
}

/** What one appended fact looked like from the outside, as answered and stored under the idempotency key. */
export interface AppendedFact {
  readonly stream: string;
  /** bigint as text */
  readonly version: string;
  readonly type: string;
  readonly sku: string | null;
  readonly location: string | null;
  readonly delta: number | null;
  /** On hand right after. */
  readonly balance: number | null;
  readonly occurredAt: string;
  readonly recordedAt: string;
}

export type CommandAnswer =
  /** `facts` is empty when there was nothing left to do (an order seen before, a switch that was on). */
  | { readonly kind: 'accepted'; readonly facts: readonly AppendedFact[]; readonly note?: string | undefined }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

export type CommandOutcome = CommandAnswer & {
  /** True when this key had been answered before and the stored answer is repeated. */
  readonly replayed: boolean;
};
