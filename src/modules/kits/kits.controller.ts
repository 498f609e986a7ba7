import { Body, Controller, Delete, Get, Param, Put, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { componentQuantityMax, componentsMax } from '../../events/kit-composition.js';
import { Needs } from '../access/access.guard.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { CommandRunner } from '../http/command-runner.js';
import { sku } from '../http/fields.js';
import { idempotencyHeader } from '../http/open-api.js';
import { pageFields } from '../http/paging.js';
import { Problem } from '../http/problem.js';
import { KitReads } from './kit-reads.js';

const kitBody = z.strictObject({
  components: z
    .array(
      z.strictObject({
        sku,
        quantity: z.int().min(1, 'must be 1 or more').max(componentQuantityMax).describe('Pieces in one kit'),
      }),
    )
    .min(1)
    .max(componentsMax)
    .describe('All of it; a component may be a kit of plain items'),
});
const listQuery = z.strictObject({
  component: sku.optional().describe('Only kits that contain it, themselves or in a kit of theirs'),
  ...pageFields,
});

@ApiTags('Kits')
@ApiBearerAuth()
@Controller('v1/kits')
export class KitsController {
  constructor(
    private readonly commands: CommandRunner,
    private readonly kits: KitReads,
  ) {}

  @Get()
  @ApiOperation({ summary: 'Kits with what they are made of, by SKU' })
  list(@Query({ schema: listQuery }) query: z.infer<typeof listQuery>) {
    return this.kits.list(query);
  }

  @Get(':sku')
  @ApiOperation({ summary: 'One kit: its components, and its parts down to plain items' })
  async get(@Param('sku', { schema: sku }) code: string) {
    const found = await this.commands.found(() => this.kits.find(code));
    if (found !== null) return found;
    throw new Problem('unknown-kit', `${code} is no kit; GET /v1/kits lists them.`);
  }

  @Put(':sku')
  @Needs('admin')
  @ApiHeader(idempotencyHeader)
  @ApiOperation({
    summary: 'Make an item a kit, or another kit; orders taken before keep what they took',
    description: 'If-Match takes the version of the kit; 0: it is none and never was.',
  })
  async set(
    @Param('sku', { schema: sku }) code: string,
    @Body({ schema: kitBody }) { components }: z.infer<typeof kitBody>,
    @Asks() asking: Asking,
  ) {
    const answer = await this.commands.run(asking, { type: 'SetKit', sku: code, components, by: asking.by });
    await this.commands.settle();
    return { kit: await this.kits.find(code), ...answer };
  }

  @Delete(':sku')
  @Needs('admin')
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Make a kit an item by itself again; setting it again undoes that' })
  async remove(@Param('sku', { schema: sku }) code: string, @Asks() asking: Asking) {
    const answer = await this.commands.run(asking, { type: 'RemoveKit', sku: code, by: asking.by });
    await this.commands.settle();
    return { kit: null, ...answer };
  }
}
