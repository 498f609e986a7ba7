import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { driftClasses } from '../../cart-workers/drifts/drift-class.js';
import { driftActions, Drifts } from '../../cart-workers/drifts/drifts.js';
import { driftStates } from '../../cart-workers/drifts/drifts.table.js';
import { CartReads } from '../carts/cart-reads.js';
import { unknownCart } from '../carts/carts.controller.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { cartId, flag, reason } from '../http/fields.js';
import { decodeCursor, pageFields, pageOf } from '../http/paging.js';
import { Problem } from '../http/problem.js';

const driftId = z
  .string()
  .regex(/^[1-9]\d{0,14}$/, 'must be the number of a drift')
  .transform(Number);
const listQuery = z.strictObject({
  cart: cartId.optional(),
  state: z.enum(driftStates).optional(),
  class: z.enum(driftClasses).optional(),
  open: flag.optional().describe('Only what is not over'),
  ...pageFields,
});
const resolution = z.strictObject({
  action: z
    .enum(driftActions)
    .describe(
      'repair: the cart is made to show what it should. take-over: our stock follows the cart. accept: it stays as it is',
    ),
  reason,
});
const trendQuery = z.strictObject({ limit: z.coerce.number().int().min(1).max(200).default(50) });

@ApiTags('Reconciliation')
@ApiBearerAuth()
@Controller('v1')
export class DriftsController {
  constructor(
    private readonly drifts: Drifts,
    private readonly carts: CartReads,
  ) {}

  @Get('drifts')
  @ApiOperation({ summary: 'Listings that showed something else than they should, with their class, the newest first' })
  async list(@Query({ schema: listQuery }) query: z.infer<typeof listQuery>) {
    const before = decodeCursor(query.cursor, z.tuple([z.int().min(1)]));
    const rows = await this.drifts.list({
      cartId: query.cart,
      state: query.state,
      class: query.class,
      open: query.open ?? false,
      before: before?.[0],
      limit: query.limit + 1,
    });
    return pageOf(
      rows,
      query.limit,
      (row) => [row.id],
      (row) => row,
    );
  }

  @Get('drifts/:drift')
  @ApiOperation({
    summary: 'One drift with its evidence: readings, deliveries and orders that the class was told from',
  })
  async get(@Param('drift', { schema: driftId }) id: z.infer<typeof driftId>) {
    return (await this.drifts.get(id)) ?? unknownDrift(id);
  }

  @Post('drifts/:drift/resolve')
  @HttpCode(200)
  @ApiOperation({ summary: 'Decide a drift: make the cart follow, follow the cart, or leave it as it is' })
  async resolve(
    @Param('drift', { schema: driftId }) id: z.infer<typeof driftId>,
    @Body({ schema: resolution }) body: z.infer<typeof resolution>,
    @Asks() asking: Asking,
  ) {
    return (await this.drifts.resolve({ id, ...body, by: asking.by })) ?? unknownDrift(id);
  }

  @Get('agreement')
  @ApiOperation({
    summary: 'How well each cart agrees with us: drifts that are open, corrections, the last clean comparison',
  })
  async agreement() {
    return { data: await this.drifts.agreement(), nextCursor: null };
  }

  @Get('carts/:id/agreement')
  @ApiOperation({ summary: 'The trend of one cart: its comparisons, the newest first' })
  async trend(
    @Param('id', { schema: cartId }) id: string,
    @Query({ schema: trendQuery }) { limit }: z.infer<typeof trendQuery>,
  ) {
    if (!(await this.carts.exists(id))) unknownCart(id);
    const [[agreement], comparisons] = await Promise.all([this.drifts.agreement(id), this.drifts.trend(id, limit)]);
    return { ...agreement, comparisons };
  }
}

function unknownDrift(id: number): never {
  throw new Problem(
    'unknown-drift',
    `There is no drift ${id}, or it is over already; GET /v1/drifts?open=true lists them.`,
  );
}
