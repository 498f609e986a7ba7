import { Controller, Get, Param } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { cartId } from '../http/fields.js';
import { CartReads } from './cart-reads.js';
import { unknownCart } from './carts.controller.js';
import { MappingProblems } from './mapping-problems.js';

@ApiTags('Carts')
@ApiBearerAuth()
@Controller('v1/carts/:id/mapping-problems')
export class MappingProblemsController {
  constructor(
    private readonly problems: MappingProblems,
    private readonly carts: CartReads,
  ) {}

  @Get()
  @ApiOperation({
    summary: 'Where it is unclear which item a key of the cart means (the first 200 of each kind), and what mends it',
  })
  async list(@Param('id', { schema: cartId }) id: string) {
    if (!(await this.carts.exists(id))) unknownCart(id);
    return { data: await this.problems.list(id), nextCursor: null };
  }
}
