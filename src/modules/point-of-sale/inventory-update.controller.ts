/**
 * The one call of HotWax Commerce by which a point of sale tells of its sales and corrections, served under its own name,
 * so that whatever calls HotWax calls us unchanged: https://docs.hotwax.co, "Update Inventory".
 *
 * It has no word that names a call once and for all. Two equal sales in a row are therefore two sales; nothing is dropped
 * as a repeat unless the caller itself says so with an Idempotency-Key. Suspicious ones are listed (repeats.controller.ts).
 */
import { Body, Controller, HttpCode, Logger, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import type { Command } from '../../events/commands.js';
import type { Reference } from '../../events/facts.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { CommandRunner } from '../http/command-runner.js';
import { otherCode, reason, time } from '../http/fields.js';
import { idempotencyHeader } from '../http/open-api.js';
import { Problem } from '../http/problem.js';
import { ForeignNames } from './foreign-names.js';
import { idTypeOf } from './id-types.js';

/** Clients of HotWax send numbers and text for one another; what is meant is the same. */
const word = z
  .union([z.string(), z.number()], 'must be text')
  .transform(String)
  .pipe(z.string().trim().min(1, 'must not be empty').max(255, 'must have at most 255 characters'))
  .refine((text) => !/[\p{Cc}\p{Cs}]/u.test(text), 'must be printable text');
const wholeNumber = z
  .union(
    [z.number(), z.string().regex(/^\s*[+-]?\d{1,10}(\.0*)?\s*$/, 'must be a whole number such as -1')],
    'must be a whole number such as -1',
  )
  .transform(Number)
  .pipe(z.int('must be a whole number such as -1').min(-1_000_000_000).max(1_000_000_000));

const inventoryUpdate = z.looseObject({
  facilityId: word.pipe(otherCode).describe('A location, by its own code or one of its otherCodes'),
  availableDelta: wholeNumber.describe('What changes: -2 when two were sold'),
  idType: word
    .refine((text) => idTypeOf(text) !== null, 'must be SKU, UPCA or Shopify_Prod_ID')
    .describe('SKU, UPCA or Shopify_Prod_ID'),
  idValue: word.describe('The SKU, the barcode, or the number at Shopify'),
  locationSeqId: word.nullish().describe('A place within the facility; taken, and not told apart'),
  varianceReasonId: word.pipe(reason).describe('Such as POS_SALE, VAR_DAMAGED, VAR_LOST, VAR_FOUND, VAR_MANUAL'),
  occurredAt: time.optional().describe('Ours, not HotWax’s: when it happened, for tills that send later'),
});
type InventoryUpdate = z.infer<typeof inventoryUpdate>;

/** The paper under which all of it is found again: GET /v1/movements?reference=other:point-of-sale. */
export const pointOfSalePaper = { kind: 'other', number: 'point-of-sale' } as const satisfies Reference;

@ApiTags('Point of sale')
@ApiBearerAuth()
@Controller('api/service')
export class InventoryUpdateController {
  private readonly logger = new Logger('PointOfSale');

  constructor(
    private readonly commands: CommandRunner,
    private readonly names: ForeignNames,
  ) {}

  @Post('updateInventoryByIdentification')
  @HttpCode(200)
  @ApiHeader(idempotencyHeader)
  @ApiOperation({
    summary: 'For points of sale: change the stock of one item at one facility, as HotWax Commerce takes it',
    description:
      'Without an Idempotency-Key each call counts, also when it equals the one before. Errors are problem+json and carry _ERROR_MESSAGE_ as well.',
  })
  async update(@Body({ schema: inventoryUpdate }) body: InventoryUpdate, @Asks() asking: Asking) {
    try {
      return await this.record(body, asking);
    } catch (error) {
      // Some tills throw the answer away: then this line is the only trace of a sale that is not in the stock.
      if (error instanceof Problem)
        this.logger.warn(
          `${body.idType} ${body.idValue} at ${body.facilityId}, ${body.availableDelta}: ${error.message}`,
        );
      throw error;
    }
  }

  private async record(body: InventoryUpdate, asking: Asking) {
    const idType = idTypeOf(body.idType)!;
    const [location, sku] = await Promise.all([
      this.names.location(body.facilityId),
      this.names.sku(idType, body.idValue),
    ]);
    const { facilityId, availableDelta, idValue, locationSeqId, varianceReasonId } = body;
    const told = { facilityId, availableDelta, idType: body.idType, idValue, locationSeqId, varianceReasonId };
    const done = { ...told, webSiteId: 'API', sku, location };
    // A reason without a change, which HotWax takes: there is nothing to record.
    if (availableDelta === 0) return { ...done, onHand: null, note: 'Nothing to do: availableDelta is 0.' };
    const { facts, note } = await this.commands.run(asking, commandOf(body, sku, location));
    return { ...done, onHand: facts.at(-1)?.balance ?? null, ...(note !== undefined && { note }) };
  }
}

function commandOf(body: InventoryUpdate, sku: string, location: string): Command {
  const { availableDelta: delta, varianceReasonId, facilityId, occurredAt } = body;
  const reference = { ...pointOfSalePaper, line: facilityId };
  const stock = { sku, location, reason: varianceReasonId, reference, occurredAt };
  if (varianceReasonId !== 'POS_SALE') return { type: 'AdjustStock', ...stock, delta };
  // A sale taken back at the till comes as a sale of the other sign.
  if (delta > 0) return { type: 'ReturnStock', ...stock, quantity: delta, resellable: true };
  return { type: 'SellStock', ...stock, quantity: -delta };
}
