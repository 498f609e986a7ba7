import { Body, Controller, Get, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { CommandRunner } from '../http/command-runner.js';
import { location, sku, time, title } from '../http/fields.js';
import { idempotencyHeader } from '../http/open-api.js';
import { pageFields } from '../http/paging.js';
import { Problem } from '../http/problem.js';
import { ItemReads } from './item-reads.js';
import { LedgerReads } from './ledger-reads.js';

const newItem = z.strictObject({ sku, title, barcode: z.string().min(1).max(100).optional() });
const newItems = z.strictObject({ items: z.array(newItem).min(1).max(1000) });
const listQuery = z.strictObject({
  prefix: z.string().min(1).max(255).optional().describe('Only SKUs that begin so'),
  ...pageFields,
});
const ledgerQuery = z.strictObject({ location: location.optional(), ...pageFields });
const asOfQuery = z.strictObject({
  at: time.optional().describe('Left out: now'),
  by: z
    .enum(['recorded', 'business'])
    .default('recorded')
    .describe('recorded: what the hub knew at that moment. business: what was there at that moment, as known today.'),
});

@ApiTags('Items')
@ApiBearerAuth()
@Controller('v1/items')
export class ItemsController {
  constructor(
    private readonly commands: CommandRunner,
    private readonly items: ItemReads,
    private readonly ledger: LedgerReads,
  ) {}

  @Post()
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Create an item' })
  create(@Body({ schema: newItem }) body: z.infer<typeof newItem>, @Asks() asking: Asking) {
    return this.commands.run(asking, { type: 'CreateItem', ...body });
  }

  @Post('batch')
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Create up to 1,000 items; each is answered by itself' })
  async createBatch(@Body({ schema: newItems }) body: z.infer<typeof newItems>, @Asks() asking: Asking) {
    const rows = body.items.map((item) => ({
      command: { type: 'CreateItem', ...item } as const,
      idempotencyKey: undefined,
    }));
    const outcomes = await this.commands.runRows(asking, rows);
    const accepted = outcomes.filter((outcome) => outcome.status === 201).length;
    return { accepted, refused: outcomes.length - accepted, outcomes };
  }

  @Get()
  @ApiOperation({ summary: 'Items by SKU, with what is on hand in total' })
  list(@Query({ schema: listQuery }) query: z.infer<typeof listQuery>) {
    return this.items.list(query);
  }

  @Get(':sku')
  @ApiOperation({ summary: 'One item: on hand per location, and what each cart shows' })
  async get(@Param('sku', { schema: sku }) code: string) {
    return (await this.commands.found(() => this.items.get(code))) ?? unknownItem(code);
  }

  @Get(':sku/ledger')
  @ApiOperation({ summary: 'Every movement of an item, newest first, with the balance after it' })
  async movements(
    @Param('sku', { schema: sku }) code: string,
    @Query({ schema: ledgerQuery }) query: z.infer<typeof ledgerQuery>,
  ) {
    await this.checkExists(code);
    return this.ledger.movements(code, query);
  }

  @Get(':sku/on-hand')
  @ApiOperation({ summary: 'What was on hand at a moment, read from the log' })
  async onHand(
    @Param('sku', { schema: sku }) code: string,
    @Query({ schema: asOfQuery }) query: z.infer<typeof asOfQuery>,
  ) {
    await this.checkExists(code);
    return this.ledger.onHandAt(code, query.at ?? new Date().toISOString(), query.by);
  }

  private async checkExists(code: string): Promise<void> {
    const known = await this.commands.found(async () => ((await this.items.exists(code)) ? true : null));
    if (known === null) unknownItem(code);
  }
}

function unknownItem(code: string): never {
  throw new Problem('unknown-item', `There is no item "${code}"; create it at POST /v1/items.`);
}
