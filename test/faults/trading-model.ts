/**
 * What is on hand, and what every shop has to show once nothing is under way: the whole of the promise, small enough to
 * read. Pure: moments come in, and nothing here knows of records, lanes, deliveries or attempts.
 *
 * It says nothing of *when* orders are told, how often and in which order, because that must not matter: a sale counts
 * from the moment its shop made it.
 */
export class TradingModel {
  readonly #stocks = new Map<string, Stock>();
  /** What somebody changed by hand at a shop, in pieces beyond what it should show; by cart and SKU. */
  readonly #edits = new Map<string, number>();

  /**
   * Pieces come or go. A movement that is stated to have happened before the last count is in that count already, if the
   * count knew of its source; one without a stated moment happens now, after every count.
   */
  moved(sku: string, delta: number, when: { readonly at: string; readonly stated: boolean; readonly source: string }) {
    const stock = this.#stock(sku);
    const { count } = stock;
    if (when.stated && count !== null && when.at <= count.asOf && count.knows.includes(when.source)) return;
    stock.onHand += delta;
    stock.moves.push({ at: when.at, delta });
  }

  /** Somebody counted: as of that moment there were so many, and what happened since comes on top. */
  counted(sku: string, quantity: number, count: Count): void {
    const stock = this.#stock(sku);
    if (stock.count !== null && count.asOf < stock.count.asOf) return;
    stock.onHand = quantity + stock.moves.reduce((sum, { at, delta }) => (at > count.asOf ? sum + delta : sum), 0);
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
      if (quantity === this.onHand(sku)) continue;
      this.counted(sku, this.onHand(sku) + this.edit(cart, sku), { asOf, knows: [`cart:${cart}`] });
      this.#edits.delete(keyOf(cart, sku));
    }
  }

  onHand(sku: string): number {
    return this.#stock(sku).onHand;
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
    return this.onHand(sku) > 0 ? untouched === this.onHand(sku) : untouched <= 0;
  }

  #stock(sku: string): Stock {
    const known = this.#stocks.get(sku);
    if (known !== undefined) return known;
    const stock: Stock = { onHand: 0, moves: [], count: null };
    this.#stocks.set(sku, stock);
    return stock;
  }
}

/** Moments are ISO 8601 in UTC, so they compare as text. */
export interface Count {
  readonly asOf: string;
  /** Whose movements of before `asOf` the count had already. */
  readonly knows: readonly string[];
}

interface Stock {
  onHand: number;
  readonly moves: { readonly at: string; readonly delta: number }[];
  /** The one that speaks of the latest moment; an older one that is told later changes nothing. */
  count: Count | null;
}

const keyOf = (cart: string, sku: string) => `${cart}/${sku}`;
