import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { OrderImport } from '../../cart-workers/order-import.js';
import type { OrderSource } from '../../events/facts.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { CommandRunner, type Accepted } from '../http/command-runner.js';
import {
  anyText,
  cartId,
  itemKey,
  location,
  orderLine,
  otherOrigin,
  paperNumber,
  quantity,
  sku,
  time,
} from '../http/fields.js';
import { idempotencyHeader } from '../http/open-api.js';
import { pageFields } from '../http/paging.js';
import { Problem } from '../http/problem.js';
import { OrderReads } from './order-reads.js';

const header = {
  number: paperNumber,
  revision: z
    .int()
    .min(0)
    .default(0)
    .describe('Rises with every change of the order; older ones are ignored. 0: there is no such number.'),
  placedAt: time.optional(),
  state: z.enum(['open', 'shipped', 'closed', 'cancelled']).default('open'),
};
const line = orderLine.optional().describe('Left out: its place in the order, from 1');

const otherOrder = z.strictObject({
  ...header,
  origin: otherOrigin.default('phone'),
  cartId: z.null().optional(),
  lines: z.array(z.strictObject({ line, sku, location, quantity })).max(500),
});
const cartOrder = z.strictObject({
  ...header,
  origin: z.literal('cart').default('cart'),
  cartId: cartId.describe('The cart on whose behalf the order is told; it counts as one of that cart’s own'),
  lines: z.array(z.strictObject({ line, key: itemKey, quantity, title: anyText(500).default('') })).max(500),
});
export const newOrder = z.union([otherOrder, cartOrder]);

export const which = z
  .strictObject({
    cart: cartId.optional().describe('The cart that took the order'),
    origin: otherOrigin.optional().describe('Who took it where no cart did; both left out: phone'),
  })
  .refine(({ cart, origin }) => cart === undefined || origin === undefined, {
    path: ['origin'],
    error: 'name either the cart or another origin',
  });
const listQuery = z.strictObject({
  cart: cartId.optional(),
  origin: z.enum(['cart', ...otherOrigin.options]).optional(),
  state: z.enum(['open', 'shipped', 'closed', 'cancelled']).optional(),
  ...pageFields,
});
const progress = z
  .strictObject({
    lines: z
      .array(z.strictObject({ line: orderLine, quantity }))
      .min(1)
      .max(500)
      .optional()
      .describe('Left out: every open line; of a fill: as many of its pieces as are there'),
    occurredAt: time.optional(),
  })
  .default({});

export const sourceOf = ({ cart, origin }: z.infer<typeof which>): OrderSource =>
  cart === undefined ? (origin ?? 'phone') : `cart:${cart}`;

@ApiTags('Orders')
@ApiBearerAuth()
@Controller('v1/orders')
export class OrdersController {
  constructor(
    private readonly commands: CommandRunner,
    private readonly orders: OrderReads,
    private readonly orderImport: OrderImport,
  ) {}

  @Post()
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Tell a whole order as it is now; only what differs from the last revision moves stock' })
  async tell(@Body({ schema: newOrder }) body: z.infer<typeof newOrder>, @Asks() asking: Asking): Promise<Accepted> {
    if (typeof body.cartId === 'string') return this.tellForCart(body, asking);
    const { cartId: _none, origin, lines, ...order } = body;
    return this.commands.run(asking, {
      type: 'ImportOrder',
      source: origin,
      ...order,
      lines: lines.map((row, at) => ({ ...row, line: row.line ?? String(at + 1), key: row.sku })),
      sighting: { after: null, by: new Date().toISOString() },
      cartMovesStock: { at: 'never', restocksOnCancel: false },
    });
  }

  @Get()
  @ApiOperation({ summary: 'Orders, the last placed first' })
  list(@Query({ schema: listQuery }) query: z.infer<typeof listQuery>) {
    return this.orders.list(query);
  }

  @Get(':number')
  @ApiOperation({ summary: 'One order with its lines' })
  async get(
    @Param('number', { schema: paperNumber }) number: string,
    @Query({ schema: which }) from: z.infer<typeof which>,
  ) {
    const source = sourceOf(from);
    const order = await this.commands.found(() => this.orders.get(source, number));
    if (order !== null) return order;
    const of =
      from.cart === undefined ? `of the origin "${source}"; name a cart with ?cart=…` : `of the cart "${from.cart}"`;
    throw new Problem('unknown-order', `There is no order "${number}" ${of}. GET /v1/orders lists them.`);
  }

  @Post(':number/ship')
  @HttpCode(201)
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Lines have left the building: they are no longer open' })
  ship(
    @Param('number', { schema: paperNumber }) number: string,
    @Query({ schema: which }) from: z.infer<typeof which>,
    @Body({ schema: progress }) body: z.infer<typeof progress>,
    @Asks() asking: Asking,
  ) {
    return this.commands.run(asking, { type: 'ShipOrder', source: sourceOf(from), number, ...body });
  }

  @Post(':number/fill')
  @HttpCode(201)
  @ApiHeader(idempotencyHeader)
  @ApiOperation({
    summary: 'Give lines the pieces that are there, such as back-ordered ones after a receipt; nothing moves on hand',
  })
  fill(
    @Param('number', { schema: paperNumber }) number: string,
    @Query({ schema: which }) from: z.infer<typeof which>,
    @Body({ schema: progress }) body: z.infer<typeof progress>,
    @Asks() asking: Asking,
  ) {
    return this.commands.run(asking, { type: 'FillOrder', source: sourceOf(from), number, ...body });
  }

  @Post(':number/close')
  @HttpCode(201)
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Lines will not be shipped by us any more; nothing comes back on hand' })
  close(
    @Param('number', { schema: paperNumber }) number: string,
    @Query({ schema: which }) from: z.infer<typeof which>,
    @Body({ schema: progress }) body: z.infer<typeof progress>,
    @Asks() asking: Asking,
  ) {
    return this.commands.run(asking, { type: 'CloseOrder', source: sourceOf(from), number, ...body });
  }

  /** The importer knows the cart's keys, its order location and what it does to its own stock. */
  private async tellForCart(
    { cartId: id, origin: _cart, lines, placedAt, ...order }: z.infer<typeof cartOrder>,
    asking: Asking,
  ): Promise<Accepted> {
    const outcome = await this.orderImport.importOrder(
      id,
      {
        ...order,
        placedAt: placedAt ?? null,
        lines: lines.map((row, at) => ({ ...row, line: row.line ?? String(at + 1) })),
      },
      { after: null, by: new Date().toISOString() },
      asking.idempotencyKey === null ? null : `${asking.client}/${asking.idempotencyKey}`,
    );
    return this.commands.answer(asking, outcome);
  }
}
