import { Body, Controller, Get, HttpCode, Param, Post, Put, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { countedQuantity, location, name, reason, sku, time } from '../http/fields.js';
import { pageFields } from '../http/paging.js';
import { CountSessions } from './count-sessions.js';

const newSession = z.strictObject({
  location,
  name: name.default('Count'),
  includesOpenOrders: z
    .boolean()
    .describe('Whether pieces of orders that were not shipped yet stand on the shelf and are counted'),
  toleranceUnits: z.int().min(0).max(1_000_000).default(0),
  tolerancePercent: z.int().min(0).max(100).default(0).describe('Of what the books say; the larger one of both holds'),
});
const entries = z.strictObject({
  round: z.int().min(1, 'must be 1 or more').max(9).default(1).describe('1: the count. 2 and more: recounts'),
  entries: z
    .array(
      z.strictObject({
        sku,
        quantity: countedQuantity,
        countedAt: time.optional().describe('The moment of counting; left out: now'),
      }),
    )
    .min(1)
    .max(1_000)
    .refine((rows) => new Set(rows.map((row) => row.sku)).size === rows.length, 'must name each SKU once'),
});
const approval = z
  .strictObject({ anyway: z.boolean().default(false), reason: reason.optional() })
  .refine((body) => !body.anyway || body.reason !== undefined, {
    path: ['reason'],
    message: 'must say why lines that nobody confirmed are approved',
  });
const cancellation = z.strictObject({ reason });
const listQuery = z.strictObject(pageFields);
const linesQuery = z.strictObject({
  state: z.enum(['within', 'confirmed', 'recount'], 'must be within, confirmed or recount').optional(),
  ...pageFields,
});
const sessionId = z.uuid('must be the id of a count session');

@ApiTags('Counts')
@ApiBearerAuth()
@Controller('v1/count-sessions')
export class CountSessionsController {
  constructor(private readonly sessions: CountSessions) {}

  @Post()
  @ApiOperation({ summary: 'Begin to count the shelves of a location; nothing moves before it is approved' })
  async open(@Body({ schema: newSession }) body: z.infer<typeof newSession>, @Asks() { by }: Asking) {
    return this.sessions.get(await this.sessions.open({ ...body, by }));
  }

  @Get()
  @ApiOperation({ summary: 'Count sessions, the last begun first' })
  list(@Query({ schema: listQuery }) query: z.infer<typeof listQuery>) {
    return this.sessions.list(query);
  }

  @Get(':id')
  @ApiOperation({ summary: 'One count session: how many lines are within tolerance, confirmed, or to be recounted' })
  get(@Param('id', { schema: sessionId }) id: string) {
    return this.sessions.get(id);
  }

  @Get(':id/lines')
  @ApiOperation({ summary: 'Lines of a session, by SKU: what was counted, and what the books say of that moment' })
  lines(
    @Param('id', { schema: sessionId }) id: string,
    @Query({ schema: linesQuery }) query: z.infer<typeof linesQuery>,
  ) {
    return this.sessions.lines(id, query);
  }

  @Put(':id/entries')
  @ApiOperation({ summary: 'Record what was counted, up to 1,000 items; the same round told again replaces itself' })
  async record(
    @Param('id', { schema: sessionId }) id: string,
    @Body({ schema: entries }) body: z.infer<typeof entries>,
    @Asks() { by }: Asking,
  ) {
    await this.sessions.record(id, body.round, body.entries, by);
    return this.sessions.get(id);
  }

  @Post(':id/approve')
  @HttpCode(200)
  @ApiOperation({ summary: 'Make every line a count, as of its moment; told again, it goes on where it was cut off' })
  async approve(
    @Param('id', { schema: sessionId }) id: string,
    @Body({ schema: approval }) { anyway, reason: why }: z.infer<typeof approval>,
    @Asks() { by }: Asking,
  ) {
    await this.sessions.approve(id, { anyway, by, reason: why ?? null });
    return this.sessions.get(id);
  }

  @Post(':id/cancel')
  @HttpCode(200)
  @ApiOperation({ summary: 'Give a session up; nothing of it has moved' })
  async cancel(
    @Param('id', { schema: sessionId }) id: string,
    @Body({ schema: cancellation }) { reason: why }: z.infer<typeof cancellation>,
    @Asks() { by }: Asking,
  ) {
    await this.sessions.cancel(id, by, why);
    return this.sessions.get(id);
  }
}
