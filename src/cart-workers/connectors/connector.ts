import type { DeliveryWay, OrdersBy, UpdateForm } from '../../events/facts.js';

/**
 * What the worker may ask of a cart, whichever protocol the cart speaks.
 *
 * A connector translates; it decides nothing. It never retries, never sleeps and never touches the database: what to do
 * with an answer is the retry policy's and the settlement's business. Every method makes its calls through `httpCall`,
 * which checks the deadline immediately before the first byte leaves and tells whether any byte did.
 */

/** How a cart is reached. Secrets are decrypted for the length of one call and never logged. */
export interface CartConnection {
  readonly cartId: string;
  readonly url: string;
  /** SETI `setiuser`; unused by the signed webhook. */
  readonly username: string;
  /** SETI password, or the signing secret (`whsec_…`) of the signed webhook. */
  readonly secret: string;
  /** SETI `code`; may be empty. */
  readonly storeCode: string;
  /** Longest time from the socket write to the last byte of the answer, in ms. */
  readonly requestTimeoutMs: number;
  /** Whether addresses in private and loopback ranges may be called. */
  readonly allowPrivateAddress: boolean;
  /** Whether the cart was seen to understand a key with a tilde; a type that has no trouble with it does not ask. */
  readonly tildeInKeys?: boolean;
  /** How changes are written, where a script was seen to take one form only. Left out: plain. */
  readonly updates?: UpdateForm | undefined;
}

/** One call's surroundings, handed in by whoever decided to make the call. */
export interface CallContext {
  /** After this moment (ms of the steady clock) nothing may be written to the socket any more, and a call under way is aborted. */
  readonly deadlineMs: number;
  /** Called when the whole request has left this process. */
  readonly onSent?: (() => void) | undefined;
  /** Aborts the call on shutdown; what was sent by then is judged like any lost answer. */
  readonly signal?: AbortSignal;
}

/** What a cart type can do. The worker takes the strongest way of delivering that it finds here. */
export interface Capabilities {
  /** The way a delta takes effect once: see ARCHITECTURE.md, "Delivering a delta once in effect". */
  readonly delivery: DeliveryWay;
  /** Most lines in one delivery; 1 where the cart takes one SKU a call. */
  readonly linesPerDeliveryMax: number;
  /** Most absolute quantities in one call; 0 where the cart cannot be set. */
  readonly rowsPerSetMax: number;
  /** Most calls under way at once; 1 makes the cart a serial one. */
  readonly parallelCallsMax: number;
  /** How long the cart remembers an idempotency key, in ms; null where it has none. */
  readonly keyLifeMs: number | null;
  /** Longest execution at the cart: how long after a deadline a request may still take effect, in ms. */
  readonly quietTimeMs: number;
  /** Whether a reply to a delta tells the new quantity. */
  readonly replyTellsQuantity: boolean;
  /** Whether the cart lowers a quantity to 0 at most. */
  readonly clampsAtZero: boolean;
  /** Where orders come from: polled by us, sent by the cart, or not at all. */
  readonly orders: 'poll' | 'webhook' | 'none';
  /** When the cart itself takes the pieces of an order from its own stock. */
  readonly stockMovesAt: 'order' | 'payment' | 'fulfilment' | 'never';
  /** Whether the cart puts pieces back by itself when an order is cancelled. */
  readonly restocksOnCancel: boolean;
  /** Whether its checkout reads a quantity and then writes what is left, over whatever came between. Left out: no. */
  readonly checkoutOverwrites?: boolean;
  readonly canRead: boolean;
  /** Whether reading everything tells every item: what is not among it is not in the cart. Left out: yes. */
  readonly listingComplete?: boolean;
  /** Whether a key with a tilde in it is understood as a whole. Left out: yes. */
  readonly tildeInKeys?: boolean;
  /** What rules may ask of an item beside its quantity; left out: nothing. */
  readonly flags?: readonly ('hide' | 'backorder')[];
  /** How this very cart is asked for new orders, as a probe found it. Left out: by its marks. */
  readonly ordersBy?: OrdersBy;
  /** How changes are written for this very cart, as a probe found it. Left out: plain. */
  readonly updates?: UpdateForm;
}

/** One function of a script, as the probe found it. */
export interface FunctionReport {
  readonly name: string;
  readonly answered: boolean;
  readonly response: string;
}

/** What the conformance probe asks of carts that differ from one another within their type. */
export interface ProbeCalls {
  /** Finds out how changes have to be written, on an item that no shop has. Never throws for what a cart answers. */
  updates(cart: CartConnection, call: () => CallContext, noSuchKey: string): Promise<UpdatesReport>;
  /** Calls everything that changes nothing, and says what answered. Never throws for what a cart answers. */
  functions(cart: CartConnection, call: () => CallContext): Promise<readonly FunctionReport[]>;
  /** Finds out how it is asked for orders from some point on. Never throws for what a cart answers. */
  orders(cart: CartConnection, call: () => CallContext): Promise<OrdersReport>;
}

export interface UpdatesReport {
  readonly form: UpdateForm;
  /** What the cart answered to each form that was tried. */
  readonly saw: string;
}

export interface OrdersReport {
  /** null: it tells everything whatever it is asked; `unknown`: it has no orders yet, or does not tell them. */
  readonly by: OrdersBy | null | 'unknown';
  /** Whether all numbers that were told are digits only, so that higher means later. */
  readonly numbersArePlain: boolean;
}

/** A field a person fills in when a cart of this type is created. */
export interface CartTypeField {
  readonly name: 'url' | 'username' | 'secret' | 'storeCode';
  readonly label: string;
  readonly help: string;
  readonly required: boolean;
  readonly secret: boolean;
}

export interface DeltaLine {
  /** The cart's own item key. */
  readonly key: string;
  /** Whole units, never 0. */
  readonly delta: number;
  /** Compare-and-set: what the listing must show for the delta to be applied. Left out where the cart does not compare. */
  readonly from?: number | undefined;
  /** Shown or hidden together with the delta, in one step. Only where a rule asks for it and the connector can: see `setVisibility`. */
  readonly visibility?: Visibility | undefined;
}

/** Whether customers find an item at all. Nobody but a rule touches it: a hidden item cannot be ordered, in stock or not. */
export type Visibility = 'shown' | 'hidden';

/** `backorder`: shown, and customers may order what is not there and are told so. */
export type Flag = Visibility | 'backorder';

/**
 * What the cart said of one line. `applied` and the four refusals are definite; `unknown` is not.
 * `response` is the cart's own words, shortened to 500 characters and free of secrets.
 */
export type LineAnswer = {
  readonly key: string;
  readonly response: string;
} & (
  | { readonly outcome: 'applied'; /** the cart's quantity after the line */ readonly quantity: number | null }
  | { readonly outcome: 'not-found' | 'not-tracked' | 'rejected' }
  | { readonly outcome: 'stale'; readonly quantity: number | null }
  | { readonly outcome: 'unknown' }
);

export interface DeltaRequest {
  /** The delivery's key: the same for every resend, never reused for another body. */
  readonly idempotencyKey: string;
  /** When the delivery was first made (epoch ms): part of the signed, unchanging body where the protocol has one. */
  readonly createdAtMs: number;
  readonly lines: readonly DeltaLine[];
}

export interface QuantityRow {
  readonly key: string;
  /** null where the cart lists the item but does not track its stock. */
  readonly quantity: number | null;
  /** The cart's own number of the product, where it tells one: two of them under one key are two products. */
  readonly productId?: string;
}

/** A whole order as the cart tells it, translated into the words of `orders` in the API. */
export interface CartOrder {
  readonly number: string;
  /** Rises with every change where the cart has such a thing; 0 where it has none. */
  readonly revision: number;
  /** Business time, ISO 8601; null where the cart tells none. */
  readonly placedAt: string | null;
  readonly state: 'open' | 'shipped' | 'closed' | 'cancelled';
  /** Why its lines cannot be read (they are left empty then): such an order is kept in sight and holds no other one up. */
  readonly unreadable?: string;
  readonly lines: readonly {
    readonly line: string;
    readonly key: string;
    readonly quantity: number;
    readonly title: string;
  }[];
}

export interface OrderPage {
  readonly orders: readonly CartOrder[];
  /** Orders up to and including this mark have now been told; handed back as `since` the next time. */
  readonly mark: string;
  /**
   * false: a checkout that runs at this moment may have taken pieces that no order shows yet, so nothing that is read now
   * can be explained by orders. Left out where the cart cannot tell.
   */
  readonly complete?: boolean;
  /** Items of orders so young that the cart may be taking their pieces at this moment: their quantities are not settled. */
  readonly unsettledKeys?: readonly string[];
}

export interface ConnectionReport {
  readonly version: string;
  /** Sentences for a person: what was tried and what the cart said. */
  readonly findings: readonly string[];
}

export interface Connector {
  readonly type: string;
  readonly label: string;
  readonly fields: readonly CartTypeField[];
  /** What a cart of this type can do at best. */
  readonly capabilities: Capabilities;
  /** Whether a mark of the order feed is the number of an order, so that a poll may begin behind any order it was told. */
  readonly marksAreOrderNumbers?: boolean;
  /** The ways of delivering that a cart of this type may be set to, the strongest first: `capabilities.delivery` is it. */
  readonly deliveryWays: readonly DeliveryWay[];

  /** Carts of this type are probed before they are switched on. Left out: they all do the same. */
  readonly probe?: ProbeCalls;

  /** Version, login and one read. Throws a CartError that names what to mend. */
  testConnection(cart: CartConnection, call: CallContext): Promise<ConnectionReport>;

  /**
   * Sends one delivery. Resolves with one answer per line, in the order of the request.
   * @throws CartUnreachableError no byte left; CartThrottledError and CartRejectedError nothing was applied;
   *         OutcomeUnknownError bytes left and no answer that can be believed came back.
   */
  sendDeltas(cart: CartConnection, request: DeltaRequest, call: CallContext): Promise<readonly LineAnswer[]>;

  /**
   * Sets absolute quantities. Only the baseline sequence may call this.
   * @throws as sendDeltas
   */
  setQuantities(
    cart: CartConnection,
    request: {
      readonly idempotencyKey: string;
      readonly createdAtMs: number;
      readonly rows: readonly { key: string; quantity: number }[];
    },
    call: CallContext,
  ): Promise<readonly LineAnswer[]>;

  /**
   * Shows or hides items without touching their stock; left out where the cart cannot. Repeating it changes nothing.
   * @throws as sendDeltas
   */
  readonly setVisibility?: (
    cart: CartConnection,
    request: {
      readonly idempotencyKey: string;
      readonly createdAtMs: number;
      readonly rows: readonly { readonly key: string; readonly visibility: Flag }[];
    },
    call: CallContext,
  ) => Promise<readonly LineAnswer[]>;

  /**
   * What the cart shows now. With `keys`, at least those that exist; without, everything, page by page. A cart that can
   * only be read as a whole is read until all `keys` came; `toTheEnd`: until its end, as a second product of the same key
   * may stand there.
   * A key may come again on a later page where a cart's pages overlap: the later one counts. Where several products of a
   * cart share a key, it comes several times in *one* page, with what each of them shows: nobody may choose among them.
   */
  readQuantities(
    cart: CartConnection,
    keys: readonly string[] | null,
    call: (page: number) => CallContext,
    toTheEnd?: boolean,
  ): AsyncIterable<readonly QuantityRow[]>;

  /** The mark that asks for orders placed on `day` (2026-06-10; null: all) or later. Where a cart can be asked so at all. */
  readonly markOfDay?: (by: OrdersBy & { readonly by: 'date' }, day: string | null) => string;

  /** Orders after `since` (null: from the beginning), oldest first, one page a call; an empty page ends it. */
  readOrders(cart: CartConnection, since: string | null, call: CallContext): Promise<OrderPage>;
}
