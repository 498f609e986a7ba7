import { Controller, HttpCode, Param, Post, RawBody, Req } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { CartSecrets } from '../../cart-workers/cart-secrets.js';
import { parseOrderWebhook, verifyWebhook } from '../../cart-workers/connectors/webhook-protocol.js';
import { OrderImport } from '../../cart-workers/order-import.js';
import { Open } from '../access/access.guard.js';
import { cartId } from '../http/fields.js';
import { Problem, refusalProblem } from '../http/problem.js';
import { CartReads } from './cart-reads.js';

/** Where carts tell of their orders as they happen. The poll is the safety net; telling both is harmless. */
@ApiTags('Webhooks')
@Controller('v1/carts/:id/webhooks')
export class WebhooksController {
  constructor(
    private readonly carts: CartReads,
    private readonly secrets: CartSecrets,
    private readonly orderImport: OrderImport,
  ) {}

  @Post()
  @HttpCode(202)
  @Open('Carts sign their webhooks with the secret of the cart (Standard Webhooks); the signature is checked here')
  @ApiOperation({
    summary:
      'For carts: an order is new or has changed. Signed as Standard Webhooks say; sent again, it is answered again.',
  })
  async receive(
    @Param('id', { schema: cartId }) id: string,
    @RawBody() rawBody: Buffer | undefined,
    @Req() request: FastifyRequest,
  ) {
    const verdict = verifyWebhook(request.headers, rawBody ?? Buffer.alloc(0), await this.secretOf(id));
    if (!verdict.valid)
      throw new Problem(
        'unauthorized',
        `The webhook was not accepted: ${verdict.reason}. Sign the bytes that are sent with the cart's secret.`,
      );
    const read = parseOrderWebhook(rawBody ?? Buffer.alloc(0));
    if ('problem' in read) throw new Problem('invalid-request', `The webhook cannot be read: ${read.problem}.`);
    const outcome = await this.orderImport.importOrder(
      id,
      read.order,
      { after: null, by: new Date().toISOString() },
      verdict.id,
    );
    if (outcome.kind === 'refused') throw refusalProblem(outcome.refusal);
    return { accepted: true, facts: outcome.facts.length, replayed: outcome.replayed };
  }

  /** An unknown cart looks like a wrong signature: callers without one learn nothing of which carts exist. */
  private async secretOf(id: string): Promise<string> {
    return (await this.carts.exists(id)) ? this.secrets.get(id) : '';
  }
}
