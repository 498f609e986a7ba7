/**
 * What is on hand, and what every shop has to show once nothing is under way: the whole of the promise, small enough to
 * read. Pure: moments come in, and nothing here knows of records, lanes, deliveries or attempts.
 *
 * It says nothing of *when* orders are told, how often and in which order, because that must not matter: a sale counts
 * from the moment its shop made it.
 */
export class TradingModel {
  /** What is on hand of a SKU at a location. */
  readonly #stocks = new Map<string, Stock>();
  /** What somebody changed by hand at a shop, in pieces beyond what it should show; by cart and SKU. */
  readonly #edits = new Map<string, number>();

  /** @param sells from where each cart sells; its own orders are taken from the first */
  constructor(private readonly sells: ReadonlyMap<string, readonly [string, ...string[]]>) {}

  /**
   * Pieces come or go, and with `open` so many more or fewer of them are sold and still on the shelf. A movement that is
   * stated to have happened before the last count is in that count already, if the count knew of its source; one without
   * a stated moment happens now, after every count.
   */
  moved({ sku, at, delta, open = 0, ...when }: Moved): void {
    const stock = this.#stock(sku, when.location);
    const { count } = stock;
    const counted = when.stated && count !== null && at <= count.asOf && count.knows.includes(when.source);
    const change = counted ? delta - (delta + (count.includesOpen ? open : 0)) : delta;
    stock.onHand += change;
    stock.moves.push({ at, delta: change, open });
  }

  /**
   * Somebody counted: as of that moment there were so many, less what was sold and still on the shelf where that was
   * counted too; and what happened since comes on top.
   */
  counted(sku: string, location: string, quantity: number, count: Count): void {
    const stock = this.#stock(sku, location);
    if (stock.count !== null && count.asOf < stock.count.asOf) return;
    const before = stock.moves.filter(({ at }) => at <= count.asOf);
    const since = stock.moves.filter(({ at }) => at > count.asOf);
    stock.onHand =
      quantity - (count.includesOpen ? sum(before, ({ open }) => open) : 0) + sum(since, ({ delta }) => delta);
    stock.count = count;
  }

  /** Nobody tells the hub of a change by hand, so it stays until the listing is next made equal, and every delta adds to it. */
  edited(cart: string, sku: string, by: number): void {
    this.#edits.set(keyOf(cart, sku), this.edit(cart, sku) + by);
  }

  /** The shop follows the hub: what was changed by hand there is gone. */
  sent(cart: string, skus: Iterable<string>): void {
    for (const sku of skus) this.#edits.delete(keyOf(cart, sku));
  }

  /**
   * The hub follows the shop, by what was changed there and never by its absolute number: what other shops sold meanwhile
   * stays sold. Where the shop shows what is on hand anyway, nothing happens at all.
   */
  got(cart: string, shown: ReadonlyMap<string, number>, asOf: string): void {
    for (const [sku, quantity] of shown) {
      if (quantity === this.available(cart, sku)) continue;
      const [location] = this.#locations(cart);
      const knows = [`cart:${cart}`];
      this.counted(sku, location, this.onHand(sku, location) + this.edit(cart, sku), {
        asOf,
        knows,
        includesOpen: false,
      });
      this.#edits.delete(keyOf(cart, sku));
    }
  }

  onHand(sku: string, location: string): number {
    return this.#stock(sku, location).onHand;
  }

  available(cart: string, sku: string): number {
    return sum(this.#locations(cart), (location) => this.onHand(sku, location));
  }

  edit(cart: string, sku: string): number {
    return this.#edits.get(keyOf(cart, sku)) ?? 0;
  }

  /**
   * Whether a quiet shop may show this. Where there is something to sell, exactly that. Where there is nothing, nothing is
   * offered: zero, or what the shop itself sold beyond it, which is never raised towards zero.
   */
  mayShow(cart: string, sku: string, shown: number): boolean {
    const untouched = shown - this.edit(cart, sku);
    const available = this.available(cart, sku);
    return available > 0 ? untouched === available : untouched <= 0;
  }

  #stock(sku: string, location: string): Stock {
    const known = this.#stocks.get(keyOf(sku, location));
    if (known !== undefined) return known;
    const stock: Stock = { onHand: 0, moves: [], count: null };
    this.#stocks.set(keyOf(sku, location), stock);
    return stock;
  }

  #locations(cart: string): readonly [string, ...string[]] {
    const locations = this.sells.get(cart);
    if (locations === undefined) throw new Error(`The model knows no cart ${cart}`);
    return locations;
  }
}

/** Moments are ISO 8601 in UTC, so they compare as text. */
export interface Moved {
  readonly sku: string;
  readonly location: string;
  readonly delta: number;
  readonly open?: number;
  readonly at: string;
  readonly stated: boolean;
  readonly source: string;
}

export interface Count {
  readonly asOf: string;
  /** Whose movements of before `asOf` the count had already. */
  readonly knows: readonly string[];
  /** Whether pieces that were sold and still on the shelf were counted too. */
  readonly includesOpen: boolean;
}

interface Stock {
  onHand: number;
  readonly moves: { readonly at: string; readonly delta: number; readonly open: number }[];
  /** The one that speaks of the latest moment; an older one that is told later changes nothing. */
  count: Count | null;
}

const sum = <T>(items: readonly T[], of: (item: T) => number) => items.reduce((total, item) => total + of(item), 0);
const keyOf = (one: string, other: string) => `${one}/${other}`;
