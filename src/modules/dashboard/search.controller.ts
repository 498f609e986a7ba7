import { Controller, Get, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { searchText } from '../http/fields.js';
import { ItemSearch } from '../inventory/item-search.js';

const searchQuery = z.strictObject({
  q: searchText.describe('What a SKU, a barcode or words of a title begin with'),
});

@ApiTags('Items')
@ApiBearerAuth()
@Controller('v1')
export class SearchController {
  constructor(private readonly items: ItemSearch) {}

  @Get('search')
  @ApiOperation({ summary: 'A dozen items, the most likely first, for a search box; GET /v1/items?q= has all of them' })
  async search(@Query({ schema: searchQuery }) { q }: z.infer<typeof searchQuery>) {
    const { data } = await this.items.find({ q, active: 'yes', limit: SHOWN_MAX });
    return { data: data.map(({ sku, title, foundBy }) => ({ sku, title, foundBy })), nextCursor: null };
  }
}

const SHOWN_MAX = 12;
