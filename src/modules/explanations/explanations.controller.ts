import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { CommandRunner } from '../http/command-runner.js';
import { cartId, sku, time } from '../http/fields.js';
import { Problem } from '../http/problem.js';
import { ItemReads } from '../inventory/item-reads.js';
import { Explanations } from './explanations.js';

const query = z.strictObject({
  cart: cartId.optional().describe('Left out: every cart that sells it'),
  at: time.optional().describe('As of a moment in the past; left out: now'),
  movements: z.coerce.number().int().min(1).max(200).default(10).describe('How many of the last movements are shown'),
});

@ApiTags('Items')
@ApiBearerAuth()
@Controller('v1/items')
export class ExplanationsController {
  constructor(
    private readonly commands: CommandRunner,
    private readonly items: ItemReads,
    private readonly explanations: Explanations,
  ) {}

  @Get(':sku/explain')
  @ApiOperation({
    summary: 'Why each cart shows what it shows, now or at any moment',
    description:
      'Every movement, rule and record behind a number, and a sentence that says it. A moment in the past is worked out from the log.',
  })
  async explain(@Param('sku', { schema: sku }) code: string, @Query({ schema: query }) asked: z.infer<typeof query>) {
    const { cart = null, movements } = asked;
    const known = await this.commands.found(async () => ((await this.items.exists(code)) ? true : null));
    if (known === null) throw new Problem('unknown-item', `There is no item "${code}"; create it at POST /v1/items.`);
    const at = asked.at === undefined ? null : new Date(asked.at);
    if (at !== null && at.getTime() > Date.now()) {
      const detail = 'must not be in the future; leave it out for now';
      throw new Problem('invalid-request', `The moment ${detail}.`, [{ field: 'at', detail }]);
    }
    const explained = await this.explanations.of(code, { cart, at, movements });
    if (cart === null || explained.carts.length > 0) return explained;
    const when = at === null ? '' : ` at ${at.toISOString()}`;
    throw new Problem(
      'unknown-listing',
      `The cart "${cart}" has no listing of "${code}"${when}. GET /v1/items/${encodeURIComponent(code)} tells who sells it.`,
    );
  }
}
