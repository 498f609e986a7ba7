import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { qohRunStates } from '../../cart-workers/qoh-runs/qoh-runs.table.js';
import { CartReads } from '../carts/cart-reads.js';
import { unknownCart } from '../carts/carts.controller.js';
import { checkRun, runFields, scopeOf } from '../carts/qoh-run-fields.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { cartId, flag } from '../http/fields.js';
import { pageFields } from '../http/paging.js';
import { QohRuns } from '../jobs/qoh-runs.js';

const cartsMax = 1_000;
const wish = z
  .strictObject({
    direction: z.enum(['send', 'get']).describe('send: carts follow us. get: we follow the cart'),
    carts: z
      .array(cartId)
      .min(1, 'must name at least one')
      .max(cartsMax, `must name at most ${cartsMax}`)
      .optional()
      .describe('Left out: every cart that is switched on'),
    ...runFields,
  })
  .superRefine(checkRun)
  .refine(({ direction, carts }) => direction === 'send' || carts?.length === 1, {
    path: ['carts'],
    message: 'must name one cart for direction "get": our stock can follow one cart only',
  });
const listQuery = z.strictObject({
  cart: cartId.optional(),
  state: z.enum(qohRunStates).optional(),
  open: flag.optional().describe('Only what is under way or held'),
  ...pageFields,
});
const rowsQuery = z.strictObject(pageFields);
const runId = z.uuid('must be the id of a run');

@ApiTags('Reconciliation')
@ApiBearerAuth()
@Controller('v1/qoh-runs')
export class QohRunsController {
  constructor(
    private readonly runs: QohRuns,
    private readonly carts: CartReads,
  ) {}

  @Post()
  @HttpCode(202)
  @ApiOperation({
    summary:
      'Send QOH to every cart (or some), or Get QOH from one: one run per cart, in the background. Where a cart has one under way, that one is answered.',
  })
  async begin(@Body({ schema: wish }) body: z.infer<typeof wish>, @Asks() asking: Asking) {
    const cartIds = body.carts ?? (await this.carts.switchedOn());
    for (const id of cartIds) if (!(await this.carts.exists(id))) unknownCart(id);
    const { direction, preview, createNewProducts } = body;
    const key = asking.idempotencyKey === null ? null : `${asking.client}/${asking.idempotencyKey}`;
    const begun = [];
    for (const id of new Set(cartIds)) {
      const repeatKey = key === null ? null : `${id}/${key}`;
      const scope = scopeOf(body);
      begun.push(
        await this.runs.begin({ cartId: id, direction, scope, preview, createNewProducts, by: asking.by, repeatKey }),
      );
    }
    return { data: begun, nextCursor: null };
  }

  @Get()
  @ApiOperation({ summary: 'Sends and Gets, the newest first: how far each is, how fast, and how long it will take' })
  list(@Query({ schema: listQuery }) { cart, ...query }: z.infer<typeof listQuery>) {
    return this.runs.list({ cartId: cart, ...query });
  }

  @Get(':id')
  @ApiOperation({ summary: 'One Send or Get, and what came of it' })
  get(@Param('id', { schema: runId }) id: string) {
    return this.runs.get(id);
  }

  @Get(':id/differences')
  @ApiOperation({
    summary: 'What a Send or Get would change, or was about to: what each listing showed, and what it should',
  })
  differences(
    @Param('id', { schema: runId }) id: string,
    @Query({ schema: rowsQuery }) query: z.infer<typeof rowsQuery>,
  ) {
    return this.runs.differences(id, query);
  }

  @Post(':id/cancel')
  @HttpCode(200)
  @ApiOperation({ summary: 'Begin nothing more of it. What was made equal stays so, and what is owed by then goes' })
  cancel(@Param('id', { schema: runId }) id: string, @Asks() asking: Asking) {
    return this.runs.cancel(id, asking.by);
  }

  @Post(':id/resume')
  @HttpCode(200)
  @ApiOperation({ summary: 'Go on with one that failed or was cancelled: what is equal already is not sent again' })
  resume(@Param('id', { schema: runId }) id: string) {
    return this.runs.resume(id);
  }
}
