import type { Command } from '../../src/events/commands.js';
import type { Harness } from '../support/hub-harness.js';
import type { TradingModel } from './trading-model.js';
import type { Step } from './trading-steps.js';

type StepOf<T extends Step['do']> = Extract<Step, { readonly do: T }>;

interface PhoneOrder {
  readonly number: string;
  readonly lines: Extract<Command, { type: 'ImportOrder' }>['lines'];
  readonly placedAt: string | null;
  state: 'open' | 'shipped' | 'cancelled';
}

const now = () => new Date().toISOString();

/** A day's orders by phone, of several lines and locations, told at once or late. No cart moves stock for them. */
export class PhoneOrders {
  readonly #orders: PhoneOrder[] = [];

  constructor(
    private readonly hub: Harness,
    private readonly model: TradingModel,
    private readonly skus: readonly string[],
    private readonly moment: (minutesAgo: number) => string,
  ) {}

  async take({ lines: drawn, minutesAgo }: StepOf<'phone'>): Promise<void> {
    const lines = drawn.map(({ item, location, quantity }, index) => {
      const sku = this.skus[item] as string;
      return { line: String(index + 1), sku, key: sku, location, quantity };
    });
    const placedAt = minutesAgo === null ? null : this.moment(minutesAgo);
    const order: PhoneOrder = { number: `${this.skus[0]}-${this.#orders.length}`, lines, placedAt, state: 'open' };
    this.#orders.push(order);
    await this.#import(order, 1);
    const when = { at: placedAt ?? now(), stated: placedAt !== null, source: 'phone' };
    for (const { sku, location, quantity } of lines)
      this.model.moved({ sku, location, delta: -quantity, open: quantity, ...when });
  }

  async change({ do: what, nth }: StepOf<'cancel-phone' | 'ship-phone'>): Promise<void> {
    const order = this.#orders[nth % Math.max(this.#orders.length, 1)];
    if (order === undefined || order.state !== 'open') return;
    order.state = what === 'ship-phone' ? 'shipped' : 'cancelled';
    if (what === 'ship-phone') await this.hub.ask({ type: 'ShipOrder', source: 'phone', number: order.number });
    else await this.#import(order, 2);
    for (const { sku, location, quantity } of order.lines) {
      const delta = what === 'ship-phone' ? 0 : quantity;
      this.model.moved({ sku, location, delta, open: -quantity, at: now(), stated: false, source: 'phone' });
    }
  }

  async #import({ number, lines, placedAt, state }: PhoneOrder, revision: number): Promise<void> {
    await this.hub.ask({
      type: 'ImportOrder',
      source: 'phone',
      number,
      revision,
      ...(placedAt !== null && { placedAt }),
      state,
      lines,
      sighting: { after: null, by: now() },
      cartMovesStock: { at: 'never', restocksOnCancel: false },
    });
  }
}
