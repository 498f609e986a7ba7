import { Body, Controller, Get, HttpCode, Param, Post, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { Needs } from '../access/access.guard.js';
import { anyText, cartId, itemKey, sku } from '../http/fields.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { Problem } from '../http/problem.js';
import { Probes } from '../jobs/probes.js';
import { connectorOf } from './cart-fields.js';
import { CartReads } from './cart-reads.js';
import { unknownCart } from './carts.controller.js';

const wish = z
  .strictObject({
    sku: sku.optional().describe('An item that may be changed for some seconds: best one that nobody buys just now'),
    key: itemKey.optional().describe('Instead of the SKU: the cart’s own key of the item'),
    belowZero: z
      .boolean()
      .default(true)
      .describe('Sell the item out for a moment, to see whether the cart goes below zero'),
    parallel: z
      .boolean()
      .default(true)
      .describe('Change the item two times at once, to see whether one is lost; needs eight pieces'),
  })
  .refine(({ sku: ours, key }) => (ours === undefined) !== (key === undefined), {
    path: ['sku'],
    message: 'name one item: by "sku", or by "key"',
  });

@ApiTags('Carts')
@ApiBearerAuth()
@Controller('v1/carts/:id/probe')
export class ProbeController {
  constructor(
    private readonly probes: Probes,
    private readonly carts: CartReads,
  ) {}

  @Post()
  @HttpCode(202)
  @Needs('admin')
  @ApiOperation({
    summary:
      'Find out what this cart does with a change, on one item that is put back afterwards. Asked twice, the one under way is answered.',
  })
  async start(
    @Param('id', { schema: cartId }) id: string,
    @Body({ schema: wish }) body: z.infer<typeof wish>,
    @Asks() asking: Asking,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const cart = (await this.carts.get(id)) ?? unknownCart(id);
    const connector = connectorOf(cart.type);
    if (connector.probe === undefined) {
      throw new Problem(
        'not-allowed-now',
        `Carts of the type "${connector.label}" all do the same, so there is nothing to probe; try POST /v1/carts/${id}/test.`,
      );
    }
    const { sku: ours, key, belowZero, parallel } = body;
    const probed = key ?? (await this.keyOf(id, ours!));
    const started = await this.probes.start(id, { key: probed, belowZero, parallel }, asking.by);
    const statusUrl = `/v1/carts/${id}/probe/${started.id}`;
    reply.header('Location', statusUrl);
    return { ...started, statusUrl };
  }

  @Get()
  @ApiOperation({ summary: 'The last probes of a cart, the newest first' })
  async list(@Param('id', { schema: cartId }) id: string) {
    if (!(await this.carts.exists(id))) unknownCart(id);
    return { data: await this.probes.last(id), nextCursor: null };
  }

  @Get(':probe')
  @ApiOperation({ summary: 'How far a probe is, what it saw, and what follows from it' })
  async status(@Param('id', { schema: cartId }) id: string, @Param('probe', { schema: anyText(200) }) probe: string) {
    const status = z.uuid().safeParse(probe).success ? await this.probes.status(id, probe) : null;
    if (status !== null) return status;
    throw new Problem(
      'unknown-probe',
      `There is no probe "${probe}" of this cart; start one at POST /v1/carts/${id}/probe.`,
    );
  }

  @Post('left')
  @HttpCode(200)
  @Needs('admin')
  @ApiOperation({
    summary: 'Say that an item which a probe could not put back is right as it is now; nothing is sent',
  })
  async left(@Param('id', { schema: cartId }) id: string) {
    if (!(await this.carts.exists(id))) unknownCart(id);
    await this.probes.leaveAsItIs(id);
    return { data: await this.probes.last(id), nextCursor: null };
  }

  /** A SKU that is not mapped to this cart is tried as the cart's own key. */
  private async keyOf(id: string, ours: string): Promise<string> {
    const keys = await this.carts.keysOf(id, ours);
    if (keys.length <= 1) return keys[0] ?? ours;
    const detail = `is mapped to several keys of this cart (${keys.join(', ')}); name one as "key"`;
    throw new Problem('invalid-request', `"sku" ${detail}.`, [{ field: 'sku', detail }]);
  }
}
