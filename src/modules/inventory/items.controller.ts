import { Body, Controller, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { tagsMax } from '../../events/item.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { CommandRunner } from '../http/command-runner.js';
import {
  anyText,
  barcode,
  day,
  location,
  searchText,
  shopifyProductId,
  sku,
  tag,
  time,
  title,
} from '../http/fields.js';
import { idempotencyHeader } from '../http/open-api.js';
import { digits, pageFields } from '../http/paging.js';
import { Problem } from '../http/problem.js';
import { ItemReads } from './item-reads.js';
import { ItemSearch } from './item-search.js';
import { LedgerReads } from './ledger-reads.js';
import { SharedBarcodes } from './shared-barcodes.js';
import { VelocityReads } from './velocity-reads.js';

const newItem = z.strictObject({
  sku,
  title,
  barcode: barcode.optional(),
  shopifyProductId: shopifyProductId.optional(),
  tags: z.array(tag).max(tagsMax).optional(),
  active: z.boolean().optional(),
});
const newItems = z.strictObject({ items: z.array(newItem).min(1).max(1000) });
const itemChange = z
  .strictObject({
    title: title.optional(),
    barcode: barcode.nullable().optional().describe('null: it has none any more'),
    shopifyProductId: shopifyProductId.nullable().optional().describe('null: it has none any more'),
    tags: z.array(tag).max(tagsMax).optional().describe('All of its tags; addTags and removeTags change single ones'),
    addTags: z.array(tag).max(tagsMax).optional(),
    removeTags: z.array(tag).max(tagsMax).optional(),
    active: z.boolean().optional(),
    expectedVersion: digits.optional().describe('The version it was read at; the same as the header If-Match'),
  })
  .refine(
    ({ expectedVersion: _expectedVersion, ...fields }) => Object.values(fields).some((value) => value !== undefined),
    {
      message: 'must name at least one field to change',
    },
  );
const filters = ['q', 'prefix', 'barcode', 'tag'] as const;
const listQuery = z
  .strictObject({
    q: searchText.optional().describe('What a SKU, a barcode or words of a title begin with; SKUs come first'),
    prefix: anyText(255).min(1, 'must not be empty').optional().describe('Only SKUs that begin so, letter by letter'),
    barcode: barcode.optional().describe('Only items with this barcode'),
    tag: tag.optional().describe('Only items with this tag'),
    active: z.enum(['yes', 'no', 'all']).default('yes').describe('Inactive items are left out unless asked for'),
    ...pageFields,
  })
  .refine((query) => filters.filter((name) => query[name] !== undefined).length < 2, {
    message: `must name one of ${filters.join(', ')} at most`,
  });
const pageQuery = z.strictObject(pageFields);
const ledgerQuery = z.strictObject({ location: location.optional(), ...pageFields });
const asOfQuery = z.strictObject({
  at: time.optional().describe('Left out: now'),
  by: z
    .enum(['recorded', 'business'])
    .default('recorded')
    .describe('recorded: what the hub knew at that moment. business: what was there at that moment, as known today.'),
});

const velocityQuery = z.strictObject({
  from: day.optional().describe('The first day, UTC; left out: 27 days before the last one'),
  to: day.optional().describe('The last day, UTC; left out: today'),
  location: location.optional(),
});

@ApiTags('Items')
@ApiBearerAuth()
@Controller('v1/items')
export class ItemsController {
  constructor(
    private readonly commands: CommandRunner,
    private readonly items: ItemReads,
    private readonly search: ItemSearch,
    private readonly barcodes: SharedBarcodes,
    private readonly ledger: LedgerReads,
    private readonly velocities: VelocityReads,
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
  @ApiOperation({
    summary: 'Items with what is on hand in total: by SKU, or, with q, as a search finds them',
    description:
      'A page of a search may be short, or empty, and still have a next one: go on until nextCursor is null.',
  })
  async list(@Query({ schema: listQuery }) { q, ...query }: z.infer<typeof listQuery>) {
    if (q === undefined) return this.items.list(query);
    const found = await this.search.find({ q, ...query });
    return { ...found, data: await this.items.withOnHand(found.data) };
  }

  @Get('shared-barcodes')
  @ApiOperation({
    summary: 'Items that share their barcode with another one, inactive ones too',
    description: 'Allowed, because shops do it; listed, because nobody can tell by the barcode which one is meant.',
  })
  sharedBarcodes(@Query({ schema: pageQuery }) query: z.infer<typeof pageQuery>) {
    return this.barcodes.shared(query);
  }

  @Patch(':sku')
  @HttpCode(200)
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Change an item; fields left out stay as they are' })
  async change(
    @Param('sku', { schema: sku }) code: string,
    @Body({ schema: itemChange }) { expectedVersion, ...changes }: z.infer<typeof itemChange>,
    @Asks() asking: Asking,
  ) {
    if (
      expectedVersion !== undefined &&
      asking.expectedVersion !== undefined &&
      expectedVersion !== asking.expectedVersion
    )
      throw new Problem('invalid-request', 'If-Match and expectedVersion name different versions; name one.', [
        { field: 'expectedVersion', detail: 'must be the same as If-Match' },
      ]);
    const expecting = { ...asking, expectedVersion: asking.expectedVersion ?? expectedVersion };
    return this.commands.run(expecting, { type: 'ChangeItem', sku: code, ...changes });
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

  @Get(':sku/velocity')
  @ApiOperation({ summary: 'Units sold per day and location, at most 366 days, and the average per day' })
  async velocity(
    @Param('sku', { schema: sku }) code: string,
    @Query({ schema: velocityQuery }) query: z.infer<typeof velocityQuery>,
  ) {
    await this.checkExists(code);
    return this.velocities.perDay(code, query);
  }

  private async checkExists(code: string): Promise<void> {
    const known = await this.commands.found(async () => ((await this.items.exists(code)) ? true : null));
    if (known === null) unknownItem(code);
  }
}

function unknownItem(code: string): never {
  throw new Problem('unknown-item', `There is no item "${code}"; create it at POST /v1/items.`);
}
