import { Body, Controller, Get, HttpCode, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { runOfPush } from '../../cart-workers/qoh-runs/run-states.js';
import { pushStates } from '../../projections/pushes.table.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { CommandRunner } from '../http/command-runner.js';
import { anyText, cartId, itemKey, reason } from '../http/fields.js';
import { idempotencyHeader } from '../http/open-api.js';
import { decodeCursor, pageFields, pageOf } from '../http/paging.js';
import { Problem } from '../http/problem.js';
import { QohRuns } from '../jobs/qoh-runs.js';
import { PushReads } from './push-reads.js';

const push = anyText(400).min(1, 'must not be empty').describe('The push, as GET /v1/pushes names it');
const listQuery = z.strictObject({ cart: cartId.optional(), state: z.enum(pushStates).optional(), ...pageFields });
const previewQuery = z.strictObject({ push, cart: cartId, ...pageFields });
const decision = z.strictObject({
  push,
  cartId,
  verdict: z
    .enum(['let-through', 'rejected'])
    .describe(
      'let-through: its records go. rejected: none of them is sent, and its listings are told nothing more until they are compared, since its cause still stands',
    ),
  reason,
});

@ApiTags('Reconciliation')
@ApiBearerAuth()
@Controller('v1/pushes')
export class PushesController {
  constructor(
    private readonly pushes: PushReads,
    private readonly commands: CommandRunner,
    private readonly runs: QohRuns,
  ) {}

  @Get()
  @ApiOperation({ summary: 'Changes of many listings at once, per cart: what the guard let pass, and what it holds' })
  async list(@Query({ schema: listQuery }) query: z.infer<typeof listQuery>) {
    const before = decodeCursor(query.cursor, z.tuple([z.iso.datetime(), itemKey]));
    const rows = await this.pushes.list({
      cartId: query.cart,
      state: query.state,
      before: before === null ? undefined : { openedAt: new Date(before[0]), push: before[1] },
      limit: query.limit + 1,
    });
    return pageOf(
      rows,
      query.limit,
      (row) => [row.openedAt, row.push],
      (row) => row,
    );
  }

  @Get('preview')
  @ApiOperation({ summary: 'What a held push would change at a cart, listing by listing' })
  async preview(@Query({ schema: previewQuery }) query: z.infer<typeof previewQuery>) {
    const after = decodeCursor(query.cursor, z.tuple([itemKey]));
    if ((await this.pushes.get(query.push, query.cart)) === null) unknownPush(query.push, query.cart);
    const { limit } = query;
    const rows = await this.pushes.preview({
      push: query.push,
      cartId: query.cart,
      after: after?.[0] ?? '',
      limit: limit + 1,
    });
    return pageOf(
      rows,
      limit,
      (row) => [row.key],
      (row) => row,
    );
  }

  @Post('decide')
  @HttpCode(200)
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Let a held push through at a cart, or reject it' })
  async decide(@Body({ schema: decision }) body: z.infer<typeof decision>, @Asks() asking: Asking) {
    const known = await this.pushes.get(body.push, body.cartId);
    if (known === null || known.state === 'passed') unknownPush(body.push, body.cartId);
    await this.commands.run(asking, { type: 'DecidePush', ...body, by: asking.by });
    await this.commands.settle();
    const run = runOfPush(body.push);
    if (run !== null) await this.runs.work(run);
    return this.pushes.get(body.push, body.cartId);
  }
}

function unknownPush(name: string, cart: string): never {
  throw new Problem(
    'unknown-push',
    `No push "${name}" is held at the cart "${cart}"; GET /v1/pushes?state=held lists them.`,
  );
}
