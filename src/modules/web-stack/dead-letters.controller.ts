import { Body, Controller, Get, HttpCode, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { DeadLetters } from '../../cart-workers/dead-letters.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { cartId, itemKey, reason } from '../http/fields.js';
import { pageFields } from '../http/paging.js';

const listQuery = z.strictObject({ cart: cartId.optional(), ...pageFields });
const redrive = z.strictObject({ cart: cartId, key: itemKey.optional().describe('Left out: every dead letter of the cart') });
const discard = z.strictObject({ cart: cartId, key: itemKey, reason });
const resolution = z.strictObject({
  cart: cartId,
  key: itemKey,
  action: z
    .enum(['was-applied', 'was-not-applied', 'set-to-target'])
    .describe('What a person found out at the cart; set-to-target makes the cart show what it should, whatever happened'),
});

@ApiTags('Web Stack')
@ApiBearerAuth()
@Controller('v1')
export class DeadLettersController {
  constructor(private readonly deadLetters: DeadLetters) {}

  @Get('dead-letters')
  @ApiOperation({ summary: 'What carts refused for good, with their last response' })
  list(@Query({ schema: listQuery }) { cart, cursor, limit }: z.infer<typeof listQuery>) {
    return this.deadLetters.list({ ...(cart !== undefined && { cartId: cart }), ...(cursor !== undefined && { cursor }), limit });
  }

  @Post('dead-letters/redrive')
  @HttpCode(200)
  @ApiOperation({ summary: 'Put dead letters back on the Web Stack; the sum that is owed is sent' })
  redrive(@Body({ schema: redrive }) { cart, key }: z.infer<typeof redrive>, @Asks() asking: Asking) {
    return this.deadLetters.redrive({ cartId: cart, ...(key !== undefined && { key }), by: asking.by });
  }

  @Post('dead-letters/discard')
  @HttpCode(200)
  @ApiOperation({ summary: 'Give a dead letter up, with a reason; the cart is read and what it shows is accepted' })
  discard(@Body({ schema: discard }) { cart, key, reason: why }: z.infer<typeof discard>, @Asks() asking: Asking) {
    return this.deadLetters.discard({ cartId: cart, key, reason: why, by: asking.by });
  }

  @Get('quarantined')
  @ApiOperation({ summary: 'Lines of which nobody can tell whether the cart applied them, with the evidence' })
  listQuarantined(@Query({ schema: listQuery }) { cart, cursor, limit }: z.infer<typeof listQuery>) {
    return this.deadLetters.listQuarantined({ ...(cart !== undefined && { cartId: cart }), ...(cursor !== undefined && { cursor }), limit });
  }

  @Post('quarantined/resolve')
  @HttpCode(200)
  @ApiOperation({ summary: 'Decide a quarantined line' })
  async resolve(@Body({ schema: resolution }) { cart, key, action }: z.infer<typeof resolution>, @Asks() asking: Asking) {
    await this.deadLetters.resolveQuarantined({ cartId: cart, key, action, by: asking.by });
    return { cart, key, action, resolved: true };
  }
}
