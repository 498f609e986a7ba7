import { Body, Controller, Get, HttpCode, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { Needs } from '../access/access.guard.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { CommandRunner } from '../http/command-runner.js';
import { countedQuantity, location, reason, sku } from '../http/fields.js';
import { idempotencyHeader } from '../http/open-api.js';
import { pageFields } from '../http/paging.js';
import { DoubtfulReads } from './doubtful-reads.js';

const listQuery = z.strictObject(pageFields);
const countBody = z.strictObject({ sku, location, quantity: countedQuantity.describe('Pieces that were found') });
const writeOffBody = z.strictObject({ sku, location, reason: reason.default('not found, written off') });

@ApiTags('Rules')
@ApiBearerAuth()
@Controller('v1/doubtful')
export class DoubtfulController {
  constructor(
    private readonly commands: CommandRunner,
    private readonly doubtful: DoubtfulReads,
  ) {}

  @Get()
  @ApiOperation({ summary: 'The last pieces that nobody has seen for long, which rules therefore do not publish' })
  list(@Query({ schema: listQuery }) query: z.infer<typeof listQuery>) {
    return this.doubtful.list(query);
  }

  @Post('count')
  @HttpCode(201)
  @Needs('operate')
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Somebody looked: so many pieces are there. An ordinary count.' })
  count(@Body({ schema: countBody }) body: z.infer<typeof countBody>, @Asks() asking: Asking) {
    return this.commands.run(asking, { type: 'CountStock', ...body, reason: 'looked for' });
  }

  @Post('write-off')
  @HttpCode(201)
  @Needs('operate')
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Nobody finds them: counted as none' })
  writeOff(@Body({ schema: writeOffBody }) body: z.infer<typeof writeOffBody>, @Asks() asking: Asking) {
    return this.commands.run(asking, { type: 'CountStock', ...body, quantity: 0 });
  }
}
