import { eq, sql } from 'drizzle-orm';
import type { Config } from '../config.js';
import type { Database } from '../database.js';
import type { CartSettings } from '../events/facts.js';
import { carts } from '../projections/projections.table.js';
import { steadyNow } from '../steady-clock.js';
import type { CartSecrets } from './cart-secrets.js';
import { capabilitiesOf } from './connectors/capabilities.js';
import { connectorFor } from './connectors/index.js';
import { cartSecrets } from './lanes.table.js';
import type { CallContext, Capabilities, CartConnection, ConnectionReport, Connector } from './connectors/connector.js';

export interface ReachableCart {
  readonly settings: CartSettings;
  readonly on: boolean;
  readonly generation: number;
  readonly connector: Connector;
  /** What this very cart can do: see capabilities.ts. */
  readonly capabilities: Capabilities;
  readonly connection: CartConnection;
}

/** What a cart is like, without what it is reached with. */
export type KnownCart = Pick<ReachableCart, 'settings' | 'capabilities'>;

/** Takes one call at a time: two at once would lose updates, or not know of each other. */
export const isSerial = ({ capabilities }: KnownCart) => capabilities.parallelCallsMax === 1;

export class CartMissingError extends Error {
  override readonly name = 'CartMissingError';
  constructor(readonly cartId: string) {
    super(`There is no cart ${cartId}`);
  }
}

/** A draft of a cart: what a person has filled in so far, secret included, before anything is stored. */
export type CartDraft = Pick<CartSettings, 'type' | 'url' | 'username' | 'storeCode'> & {
  readonly secret: string;
  readonly requestTimeoutMs?: number;
};

const draftTimeoutMs = 10_000;

/** How to reach each cart: its settings, its connector, its decrypted secret. */
export class CartDirectory {
  private readonly reachable;
  private readonly known = new Map<string, KnownCart>();
  private asked: ReturnType<CartDirectory['readAsked']> | undefined;

  constructor(
    database: Database,
    private readonly secrets: CartSecrets,
    private readonly config: Pick<Config, 'allowPrivateCartUrls'>,
  ) {
    this.reachable = selectReachable(database);
  }

  /**
   * As {@link cart}, for whoever can begin with what the cart was like when it was last read here, and holds that against what it is
   * like now before anything comes of it.
   */
  ask(cartId: string): { readonly likely: KnownCart | undefined; readonly sure: Promise<ReachableCart> } {
    const sure = this.cart(cartId);
    // Heard by whoever waits for it.
    sure.catch(() => undefined);
    return { likely: this.known.get(cartId), sure };
  }

  /** Read anew for every call: whatever was changed holds from then on. @throws CartMissingError */
  async cart(cartId: string): Promise<ReachableCart> {
    const found = await this.read(cartId);
    if (found === undefined) throw new CartMissingError(cartId);
    const { cart: row, sealed } = found;
    const { settings } = row;
    const connector = connectorFor(settings.type);
    const capabilities = capabilitiesOf(connector, settings, row.probe);
    this.known.set(cartId, { settings, capabilities });
    return {
      settings,
      on: row.on,
      generation: row.generation,
      connector,
      capabilities,
      connection: {
        cartId,
        url: settings.url,
        username: settings.username,
        secret: sealed === null ? '' : this.secrets.reveal(sealed),
        storeCode: settings.storeCode,
        requestTimeoutMs: settings.requestTimeoutMs,
        allowPrivateAddress: this.config.allowPrivateCartUrls,
        tildeInKeys: capabilities.tildeInKeys ?? true,
        updates: capabilities.updates,
      },
    };
  }

  /** Those that are asked for in one turn of the event loop are one query, sent after the last of them was asked for. */
  private async read(cartId: string) {
    this.asked ??= this.readAsked();
    this.asked.cartIds.add(cartId);
    return (await this.asked.found).get(cartId);
  }

  private readAsked() {
    const cartIds = new Set<string>();
    const found = new Promise((resolve) => setImmediate(resolve)).then(async () => {
      this.asked = undefined;
      const rows = await this.reachable.execute({ cartIds: [...cartIds] });
      return new Map(rows.map((row) => [row.cart.cartId, row]));
    });
    return { cartIds, found };
  }

  /** @throws CartMissingError, CartError */
  async test(cartId: string): Promise<ConnectionReport> {
    const { connector, connection } = await this.cart(cartId);
    return connector.testConnection(connection, callFor(connection.requestTimeoutMs));
  }

  /** @throws CartError */
  async testDraft(draft: CartDraft): Promise<ConnectionReport> {
    const requestTimeoutMs = draft.requestTimeoutMs ?? draftTimeoutMs;
    const connection: CartConnection = {
      cartId: 'draft',
      url: draft.url,
      username: draft.username,
      secret: draft.secret,
      storeCode: draft.storeCode,
      requestTimeoutMs,
      allowPrivateAddress: this.config.allowPrivateCartUrls,
    };
    return connectorFor(draft.type).testConnection(connection, callFor(requestTimeoutMs));
  }
}

/** One prepared statement, because every delivery asks. */
const selectReachable = ({ orm }: Database) =>
  orm
    .select({ cart: carts, sealed: cartSecrets })
    .from(carts)
    .leftJoin(cartSecrets, eq(cartSecrets.cartId, carts.cartId))
    .where(sql`${carts.cartId} = ANY (${sql.placeholder('cartIds')}::text[])`)
    .prepare('reachable-carts');

/** A call that may take `timeoutMs` from now on. */
export function callFor(timeoutMs: number, signal?: AbortSignal): CallContext {
  return { deadlineMs: steadyNow() + timeoutMs, ...(signal === undefined ? {} : { signal }) };
}
