import { Body, Controller, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { CommandRunner } from '../http/command-runner.js';
import { location, paperNumber, quantity, sku, time } from '../http/fields.js';
import { idempotencyHeader } from '../http/open-api.js';

const lines = z.array(z.strictObject({ sku, quantity })).min(1).max(500);

const shipment = z.strictObject({
  transfer: paperNumber.describe('Your number of the transfer'),
  from: location,
  to: location,
  lines,
  occurredAt: time.optional(),
  receive: z.boolean().default(false).describe('The pieces are there already: ship and receive at once'),
});

const receipt = z
  .strictObject({
    lines: lines.optional().describe('What came; left out: everything still in transit'),
    close: z.boolean().default(false).describe('Write off what did not come'),
    occurredAt: time.optional(),
  })
  .default({ close: false });

@ApiTags('Stock')
@ApiBearerAuth()
@ApiHeader(idempotencyHeader)
@Controller('v1/transfers')
export class TransfersController {
  constructor(private readonly commands: CommandRunner) {}

  @Post()
  @ApiOperation({ summary: 'Ship pieces from one location to another; they are in transit until received' })
  async ship(@Body({ schema: shipment }) body: z.infer<typeof shipment>, @Asks() asking: Asking) {
    const { receive, ...paper } = body;
    const shipped = await this.commands.run(asking, { type: 'ShipTransfer', ...paper });
    if (!receive) return shipped;
    const { transfer, occurredAt } = paper;
    const received = await this.commands.run(
      asking,
      { type: 'ReceiveTransfer', transfer, close: false, occurredAt },
      'receive',
    );
    return { facts: [...shipped.facts, ...received.facts] };
  }

  @Post(':transfer/receive')
  @ApiOperation({ summary: 'Receive what came of a transfer; close it to write off the rest' })
  receive(
    @Param('transfer', { schema: paperNumber }) transfer: string,
    @Body({ schema: receipt }) body: z.infer<typeof receipt>,
    @Asks() asking: Asking,
  ) {
    return this.commands.run(asking, { type: 'ReceiveTransfer', transfer, ...body });
  }
}
