import { Controller, Get, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { cartId } from '../http/fields.js';
import { pageFields } from '../http/paging.js';
import { RefusedFlags } from './refused-flags.js';

const listQuery = z.strictObject({ cart: cartId.optional(), ...pageFields });

@ApiTags('Rules')
@ApiBearerAuth()
@Controller('v1/refused-flags')
export class RefusedFlagsController {
  constructor(private readonly flags: RefusedFlags) {}

  @Get()
  @ApiOperation({
    summary:
      'Items that rules hide, show or open to back-orders, and whose cart refuses it; it is asked again once an hour',
  })
  list(@Query({ schema: listQuery }) query: z.infer<typeof listQuery>) {
    return this.flags.list(query);
  }
}
