import { Body, Controller, Get, HttpCode, Param, Post, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { QohTransfer } from '../../cart-workers/qoh-transfer.js';
import { Needs } from '../access/access.guard.js';
import { anyText, cartId } from '../http/fields.js';
import { Problem } from '../http/problem.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { Comparisons } from '../jobs/comparisons.js';
import { QohRuns } from '../jobs/qoh-runs.js';
import { CartReads } from './cart-reads.js';
import { unknownCart } from './carts.controller.js';
import { checkRun, runFields, scopeOf } from './qoh-run-fields.js';

const wish = z
  .strictObject({
    direction: z
      .enum(['send', 'get', 'look'])
      .describe(
        'send: the cart follows us (Send QOH). get: we follow the cart (Get QOH). look: only say what differs, without holding the lane; what follows is the cart’s drift policy',
      ),
    ...runFields,
  })
  .superRefine(checkRun);

@ApiTags('Carts')
@ApiBearerAuth()
@Controller('v1/carts/:id/comparison')
export class ComparisonController {
  constructor(
    private readonly comparisons: Comparisons,
    private readonly runs: QohRuns,
    private readonly transfer: QohTransfer,
    private readonly carts: CartReads,
  ) {}

  @Post()
  @HttpCode(202)
  @ApiOperation({
    summary:
      'Make both sides equal, or look whether they are, in the background. Asked twice, the one under way is answered.',
  })
  async start(
    @Param('id', { schema: cartId }) id: string,
    @Body({ schema: wish }) body: z.infer<typeof wish>,
    @Asks() asking: Asking,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    if (!(await this.carts.exists(id))) unknownCart(id);
    const key = asking.idempotencyKey === null ? null : `${asking.client}/${asking.idempotencyKey}`;
    const { direction, preview, createNewProducts } = body;
    const { by } = asking;
    const started =
      direction === 'look'
        ? await this.comparisons.start({ cartId: id, by }, key)
        : await this.runs.begin({
            cartId: id,
            direction,
            scope: scopeOf(body),
            preview,
            createNewProducts,
            by,
            repeatKey: key === null ? null : `${id}/${key}`,
          });
    const statusUrl = `/v1/carts/${id}/comparison/${started.id}`;
    reply.header('Location', statusUrl);
    return { ...started, statusUrl };
  }

  @Get('new-products')
  @Needs('operate')
  @ApiOperation({
    summary: 'What a Get with createNewProducts would create; asks the cart now, which takes as long as it takes',
  })
  async newProducts(@Param('id', { schema: cartId }) id: string) {
    if (!(await this.carts.exists(id))) unknownCart(id);
    return this.transfer.previewNewKeys(id, AbortSignal.timeout(PREVIEW_TIMEOUT_MS));
  }

  @Get()
  @ApiOperation({ summary: 'The last comparisons of a cart, the newest first' })
  async list(@Param('id', { schema: cartId }) id: string) {
    if (!(await this.carts.exists(id))) unknownCart(id);
    const [looks, { data: runs }] = await Promise.all([
      this.comparisons.last(id),
      this.runs.list({ cartId: id, limit: shownMax }),
    ]);
    const newestFirst = [...looks, ...runs].toSorted((a, b) => (a.askedAt < b.askedAt ? 1 : -1));
    return { data: newestFirst.slice(0, shownMax), nextCursor: null };
  }

  @Get(':comparison')
  @ApiOperation({ summary: 'How far a comparison is, and what it found' })
  async status(
    @Param('id', { schema: cartId }) id: string,
    @Param('comparison', { schema: anyText(200) }) comparison: string,
  ) {
    const status = (await this.runs.ofCart(id, comparison)) ?? (await this.comparisons.status(id, comparison));
    if (status !== null) return status;
    throw new Problem(
      'unknown-comparison',
      `There is no comparison "${comparison}" of this cart, or it is long past; start one at POST /v1/carts/${id}/comparison.`,
    );
  }
}

/** A large cart has many pages. */
const PREVIEW_TIMEOUT_MS = 120_000;
const shownMax = 20;
