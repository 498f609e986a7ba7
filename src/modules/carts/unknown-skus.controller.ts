import { Body, Controller, Get, HttpCode, Post, Put, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { CommandRunner } from '../http/command-runner.js';
import { barcode, cartId, itemKey, reason, sku, title } from '../http/fields.js';
import { idempotencyHeader } from '../http/open-api.js';
import { pageFields } from '../http/paging.js';
import { Problem } from '../http/problem.js';
import { firstPart, UnknownSkuReads } from './unknown-sku-reads.js';

const listQuery = z.strictObject({
  cart: cartId.optional().describe('Only of this cart'),
  state: z.enum(['open', 'ignored', 'all']).default('open'),
  ...pageFields,
});
const newItem = z.strictObject({
  cartId,
  key: itemKey,
  sku: sku.optional().describe('Left out: the cart’s key'),
  title: title.optional().describe('Left out: as the cart calls it'),
  barcode: barcode.optional(),
});
const judgement = z
  .strictObject({ cartId, key: itemKey, ignored: z.boolean(), reason: reason.optional() })
  .refine(({ ignored, reason: given }) => !ignored || given !== undefined, {
    path: ['reason'],
    message: 'must say why it is ignored',
  });

@ApiTags('Carts')
@ApiBearerAuth()
@Controller('v1/unknown-skus')
export class UnknownSkusController {
  constructor(
    private readonly commands: CommandRunner,
    private readonly unknown: UnknownSkuReads,
  ) {}

  @Get()
  @ApiOperation({
    summary: 'What carts show or sell and nobody knows here; it leaves the list once it is mapped or created',
    description: 'Map a key at PUT /v1/carts/{id}/listings: orders that named it take their pieces from the item then.',
  })
  list(@Query({ schema: listQuery }) query: z.infer<typeof listQuery>) {
    return this.unknown.list(query);
  }

  @Get('count')
  @ApiOperation({ summary: 'How many there are that nobody ignores, counted up to a thousand' })
  count() {
    return this.unknown.count();
  }

  @Post('item')
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Create an item for an unknown key, and map the key to it' })
  async createItem(@Body({ schema: newItem }) body: z.infer<typeof newItem>, @Asks() asking: Asking) {
    const { cartId: id, key } = body;
    const known = await this.commands.found(() => this.unknown.get(id, key));
    // Asked again under its key it is answered again, although the key is mapped by now.
    if (known === null && !(await this.unknown.wasAnswered(asking.client, asking.idempotencyKey))) notUnknown(id, key);
    const code = body.sku ?? key;
    const created = await this.commands.run(
      asking,
      { type: 'CreateItem', sku: code, title: body.title ?? known?.title ?? key, barcode: body.barcode },
      firstPart,
    );
    const mapped = await this.commands.run(
      asking,
      { type: 'MapListings', cartId: id, rows: [{ key, sku: code }] },
      'mapping',
    );
    await this.commands.settle();
    return { facts: [...created.facts, ...mapped.facts] };
  }

  @Put('ignored')
  @HttpCode(200)
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Take an unknown key out of sight, with a reason, or back into it' })
  async ignore(@Body({ schema: judgement }) body: z.infer<typeof judgement>, @Asks() asking: Asking) {
    const { cartId: id, key, ignored, reason: why = '' } = body;
    await this.found(id, key);
    await this.commands.run(
      asking,
      ignored
        ? { type: 'IgnoreUnknownSku', cartId: id, key, reason: why, by: asking.by }
        : { type: 'HeedUnknownSku', cartId: id, key, by: asking.by },
    );
    await this.commands.settle();
    return (await this.unknown.get(id, key)) ?? notUnknown(id, key);
  }

  private async found(id: string, key: string) {
    return (await this.commands.found(() => this.unknown.get(id, key))) ?? notUnknown(id, key);
  }
}

function notUnknown(id: string, key: string): never {
  throw new Problem(
    'unknown-listing',
    `"${key}" of ${id} is not on the list of unknown SKUs: it is mapped, created, or was never met.`,
  );
}
