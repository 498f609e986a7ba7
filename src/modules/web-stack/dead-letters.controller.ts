import { Body, Controller, Get, HttpCode, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { DeadLetters } from '../../cart-workers/dead-letters.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { cartId, itemKey, reason } from '../http/fields.js';
import { decodeCursor, pageFields, pageOf } from '../http/paging.js';
import { Problem } from '../http/problem.js';

const listQuery = z.strictObject({ cart: cartId.optional(), ...pageFields });
const redrive = z.strictObject({ cartId, key: itemKey.optional().describe('Left out: every dead letter of the cart') });
const discard = z.strictObject({ cartId, key: itemKey, reason });
const resolution = z.strictObject({
  cartId,
  key: itemKey,
  action: z
    .enum(['was-applied', 'was-not-applied', 'set-to-target'])
    .describe(
      'What a person found out at the cart; set-to-target makes the cart show what it should, whatever happened',
    ),
});

@ApiTags('Web Stack')
@ApiBearerAuth()
@Controller('v1')
export class DeadLettersController {
  constructor(private readonly deadLetters: DeadLetters) {}

  @Get('dead-letters')
  @ApiOperation({ summary: 'What carts refused for good, with their last response: one per listing' })
  async list(@Query({ schema: listQuery }) query: z.infer<typeof listQuery>) {
    const rows = await this.deadLetters.list(pageRequest(query));
    return pageOf(
      rows,
      query.limit,
      (row) => [row.cartId, row.key],
      (row) => row,
    );
  }

  @Post('dead-letters/redrive')
  @HttpCode(200)
  @ApiOperation({ summary: 'Put dead letters back on the Web Stack; the sum that is owed is sent' })
  redrive(@Body({ schema: redrive }) { cartId: cart, key }: z.infer<typeof redrive>) {
    return this.deadLetters.redrive({ cartId: cart, key: key ?? null });
  }

  @Post('dead-letters/discard')
  @HttpCode(200)
  @ApiOperation({ summary: 'Give a dead letter up, with a reason; the cart is read and what it shows is accepted' })
  discard(@Body({ schema: discard }) body: z.infer<typeof discard>, @Asks() asking: Asking) {
    return this.deadLetters.discard({ ...body, by: asking.by });
  }

  @Get('quarantined')
  @ApiOperation({ summary: 'Lines of which nobody can tell whether the cart applied them, with the evidence' })
  async listQuarantined(@Query({ schema: listQuery }) query: z.infer<typeof listQuery>) {
    const rows = await this.deadLetters.listQuarantined(pageRequest(query));
    return pageOf(
      rows,
      query.limit,
      (row) => [row.cartId, row.key],
      (row) => row,
    );
  }

  @Post('quarantined/resolve')
  @HttpCode(200)
  @ApiOperation({ summary: 'Decide a quarantined line' })
  async resolve(@Body({ schema: resolution }) body: z.infer<typeof resolution>, @Asks() asking: Asking) {
    if (await this.deadLetters.resolveQuarantined({ ...body, by: asking.by })) return { ...body, resolved: true };
    throw new Problem(
      'unknown-listing',
      `No line of "${body.key}" at the cart "${body.cartId}" is quarantined, or somebody was faster; GET /v1/quarantined lists them.`,
    );
  }
}

function pageRequest({ cart, cursor, limit }: z.infer<typeof listQuery>) {
  const after = decodeCursor(cursor, z.tuple([z.string(), z.string()]));
  return { cartId: cart, after: after === null ? undefined : { cartId: after[0], key: after[1] }, limit: limit + 1 };
}
