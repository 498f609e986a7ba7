import { Body, Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { z } from 'zod';
import { CartDirectory } from '../../cart-workers/cart-directory.js';
import { cartTypes } from '../../cart-workers/connectors/index.js';
import { Needs } from '../access/access.guard.js';
import { checkFields, connectorOf, draft } from './cart-fields.js';

@ApiTags('Carts')
@ApiBearerAuth()
@Controller('v1/cart-types')
export class CartTypesController {
  constructor(private readonly directory: CartDirectory) {}

  @Get()
  @ApiOperation({ summary: 'What kinds of cart there are: the fields each needs and what it can do' })
  list() {
    const data = cartTypes().map(({ type, label, fields, capabilities, deliveryWays }) => ({
      type,
      label,
      fields,
      capabilities,
      deliveryWays,
    }));
    return { data, nextCursor: null };
  }

  @Post(':type/test')
  @HttpCode(200)
  @Needs('admin')
  @ApiOperation({ summary: 'Try a cart that does not exist here yet: version, login and one read' })
  async test(@Param('type') type: string, @Body({ schema: draft }) body: z.infer<typeof draft>) {
    checkFields(connectorOf(type), body);
    return this.directory.testDraft({ ...body, type });
  }
}
