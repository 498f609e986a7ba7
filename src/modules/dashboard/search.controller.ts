import { Controller, Get, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { ItemSearch } from './item-search.js';

const searchQuery = z.strictObject({
  q: z
    .string()
    .trim()
    .min(1, 'must not be empty')
    .max(255)
    .regex(/^\P{Cc}*$/u, 'must be printable text')
    .describe('What a SKU or a title begins with, or a barcode'),
});

@ApiTags('Items')
@ApiBearerAuth()
@Controller('v1')
export class SearchController {
  constructor(private readonly items: ItemSearch) {}

  @Get('search')
  @ApiOperation({ summary: 'A dozen items whose SKU or title begins so, for a search box' })
  async search(@Query({ schema: searchQuery }) { q }: z.infer<typeof searchQuery>) {
    return { data: await this.items.find(q), nextCursor: null };
  }
}
