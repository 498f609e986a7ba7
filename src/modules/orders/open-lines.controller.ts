import { Controller, Get, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { cartId, location, otherOrigin, sku } from '../http/fields.js';
import { pageFields } from '../http/paging.js';
import { OpenLineReads } from './open-line-reads.js';

const query = z.strictObject({
  state: z
    .enum(['waiting', 'fillable'])
    .optional()
    .describe(
      'waiting: some of its pieces are not there. fillable: it was back-ordered, and pieces for it are there now.',
    ),
  sku: sku.optional(),
  location: location.optional(),
  cart: cartId.optional(),
  origin: otherOrigin.optional(),
  ...pageFields,
});

@ApiTags('Orders')
@ApiBearerAuth()
@Controller('v1/open-lines')
export class OpenLinesController {
  constructor(private readonly lines: OpenLineReads) {}

  @Get()
  @ApiOperation({ summary: 'Open order lines, the oldest order first, and how many of their pieces are there' })
  list(@Query({ schema: query }) { cart, origin, ...rest }: z.infer<typeof query>) {
    return this.lines.list({ ...rest, source: cart === undefined ? (origin ?? null) : `cart:${cart}` });
  }
}
