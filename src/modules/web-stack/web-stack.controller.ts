import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { recordStates } from '../../projections/listings.table.js';
import { cartId, itemKey, sku } from '../http/fields.js';
import { digits, pageFields } from '../http/paging.js';
import { Problem } from '../http/problem.js';
import { LatencyReads, latencyRecordsMax } from './latency.js';
import { WebStackReads } from './web-stack-reads.js';

const listQuery = z.strictObject({
  cart: cartId.optional(),
  sku: sku.optional(),
  key: itemKey.optional(),
  state: z
    .enum([...recordStates, 'waits', 'ends'])
    .optional()
    .describe('One state; or waits: everything still owed; or ends: everything that is over'),
  ...pageFields,
});

const netQuery = z.strictObject(pageFields);

const latencyQuery = z.strictObject({ minutes: z.coerce.number().int().min(1).max(60).default(5) });

@ApiTags('Web Stack')
@ApiBearerAuth()
@Controller('v1')
export class WebStackController {
  constructor(
    private readonly records: WebStackReads,
    private readonly latency: LatencyReads,
  ) {}

  @Get('web-stack')
  @ApiOperation({ summary: 'Records, the newest first' })
  list(@Query({ schema: listQuery }) query: z.infer<typeof listQuery>) {
    return this.records.list(query);
  }

  @Get('carts/:id/web-stack/first')
  @ApiOperation({ summary: 'What goes to a cart next, and what holds it back' })
  first(@Param('id', { schema: cartId }) id: string) {
    return this.records.first(id);
  }

  @Get('carts/:id/web-stack/net')
  @ApiOperation({
    summary: 'What would leave if the lane were opened or resumed now: the sum of what waits, per listing',
  })
  net(@Param('id', { schema: cartId }) id: string, @Query({ schema: netQuery }) query: z.infer<typeof netQuery>) {
    return this.records.net(id, query);
  }

  @Get('web-stack/:record')
  @ApiOperation({ summary: 'One record: its delivery, its attempts, and the milliseconds of every hop' })
  async get(@Param('record', { schema: digits }) id: string) {
    const record = await this.records.get(id);
    if (record === null) throw new Problem('unknown-record', `There is no record ${id}; GET /v1/web-stack lists them.`);
    return record;
  }

  @Get('latency')
  @ApiOperation({
    summary: `Per cart, how long changes of the last minutes took from accepted to delivered (its latest ${latencyRecordsMax} at most)`,
  })
  async latencies(@Query({ schema: latencyQuery }) { minutes }: z.infer<typeof latencyQuery>) {
    return { minutes, data: await this.latency.perCart(minutes), nextCursor: null };
  }
}
