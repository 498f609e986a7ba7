import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { z } from 'zod';
import { CommandRunner } from '../http/command-runner.js';
import { paperNumber } from '../http/fields.js';
import { Problem } from '../http/problem.js';
import { sourceOf, which } from '../orders/orders.controller.js';
import { PostMortems } from './post-mortems.js';

@ApiTags('Orders')
@ApiBearerAuth()
@Controller('v1/orders')
export class PostMortemsController {
  constructor(
    private readonly commands: CommandRunner,
    private readonly postMortems: PostMortems,
  ) {}

  @Get(':number/post-mortem')
  @ApiOperation({
    summary: 'How an order could sell more than there was: what the cart showed then, and what had not reached it',
  })
  async of(
    @Param('number', { schema: paperNumber }) number: string,
    @Query({ schema: which }) from: z.infer<typeof which>,
  ) {
    const found = await this.commands.found(() => this.postMortems.of(sourceOf(from), number));
    if (found !== null) return found;
    throw new Problem(
      'unknown-order',
      `There is no order "${number}" of "${sourceOf(from)}". GET /v1/orders lists them.`,
    );
  }
}
