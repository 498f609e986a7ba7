import { Body, Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { LaneControl } from '../../cart-workers/lane-control.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { cartId, reason } from '../http/fields.js';
import { unknownCart } from './carts.controller.js';

const pause = z.strictObject({ reason: reason.optional() }).default({});

@ApiTags('Lanes')
@ApiBearerAuth()
@Controller('v1')
export class LanesController {
  constructor(private readonly lanes: LaneControl) {}

  @Get('lanes')
  @ApiOperation({ summary: 'Every lane: its light and why, and what waits' })
  async list() {
    return { data: await this.lanes.statuses(), nextCursor: null };
  }

  @Post('carts/:id/pause')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Red light: nothing is sent to this cart until somebody resumes it; what changes meanwhile is merged',
  })
  async pause(
    @Param('id', { schema: cartId }) id: string,
    @Body({ schema: pause }) body: z.infer<typeof pause>,
    @Asks() asking: Asking,
  ) {
    return (await this.lanes.pause(id, asking.by, body.reason ?? null)) ?? unknownCart(id);
  }

  @Post('carts/:id/send-now')
  @HttpCode(200)
  @ApiOperation({
    summary:
      'Let go what waits for the cart’s cadence, without waiting for its moment; at a cart told at once nothing waits',
  })
  async sendNow(@Param('id', { schema: cartId }) id: string) {
    return (await this.lanes.sendNow(id)) ?? unknownCart(id);
  }

  @Post('carts/:id/resume')
  @HttpCode(200)
  @ApiOperation({ summary: 'Green light again' })
  async resume(@Param('id', { schema: cartId }) id: string) {
    return (await this.lanes.resume(id)) ?? unknownCart(id);
  }
}
