import { Body, Controller, Get, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import type { Command } from '../../events/commands.js';
import type { Reference } from '../../events/facts.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { CommandRunner } from '../http/command-runner.js';
import {
  countedQuantity,
  delta,
  location,
  quantity,
  reason,
  reference,
  referenceName,
  rowKey,
  sku,
  source,
  time,
} from '../http/fields.js';
import { idempotencyHeader } from '../http/open-api.js';
import { pageFields } from '../http/paging.js';
import { LedgerReads } from './ledger-reads.js';

const common = {
  sku,
  location,
  occurredAt: time.optional().describe('Business time; left out: now'),
  reason: reason.optional(),
  reference: reference.optional(),
  source: source.optional().describe('Who tells it; left out: direct'),
};

const received = z.strictObject({ kind: z.literal('received'), quantity, ...common });
const sold = z.strictObject({ kind: z.literal('sold'), quantity, ...common });
const returned = z.strictObject({
  kind: z.literal('returned'),
  quantity,
  resellable: z.boolean().default(true),
  ...common,
});
const adjusted = z.strictObject({ kind: z.literal('adjusted'), delta, ...common });

const movement = z.discriminatedUnion('kind', [received, sold, returned, adjusted]);

/** A movement of a batch may have an idempotency key of its own. */
const own = { idempotencyKey: rowKey.optional() };
const row = z.discriminatedUnion('kind', [
  received.extend(own),
  sold.extend(own),
  returned.extend(own),
  adjusted.extend(own),
]);
const batch = z.strictObject({ movements: z.array(row).min(1).max(1000) });

const count = z.strictObject({
  quantity: countedQuantity.describe('What was found'),
  asOf: time.optional().describe('The moment the number speaks of; left out: now'),
  includesOpenOrders: z
    .boolean()
    .optional()
    .describe('Whether pieces of open orders were still on the shelf and counted with the rest'),
  knows: z.array(source).max(100).optional().describe('Whose movements the number already contains; left out: direct'),
  ...common,
});

const ofReference = z.strictObject({
  reference: referenceName,
  line: reference.shape.line.describe('Only this line of the paper'),
  ...pageFields,
});

@ApiTags('Stock')
@ApiBearerAuth()
@Controller('v1')
export class MovementsController {
  constructor(
    private readonly commands: CommandRunner,
    private readonly ledger: LedgerReads,
  ) {}

  @Get('movements')
  @ApiOperation({ summary: 'Movements of one paper, such as all receipts of a purchase order, the newest first' })
  list(@Query({ schema: ofReference }) { reference: paper, line, ...page }: z.infer<typeof ofReference>) {
    return this.ledger.ofReference(referenceOf({ ...paper, line }), page);
  }

  @Get('movements/totals')
  @ApiOperation({ summary: 'What was moved in all under one paper, per line, item, location and kind' })
  totals(@Query({ schema: ofReference }) { reference: paper, line, ...page }: z.infer<typeof ofReference>) {
    return this.ledger.totalsOf(referenceOf({ ...paper, line }), page);
  }

  @Post('movements')
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Record one movement: pieces received, sold, returned or adjusted' })
  record(@Body({ schema: movement }) body: z.infer<typeof movement>, @Asks() asking: Asking) {
    return this.commands.run(asking, movementCommand(body));
  }

  @Post('movements/batch')
  @ApiHeader(idempotencyHeader)
  @ApiOperation({
    summary: 'Record up to 1,000 movements; each is accepted or refused by itself, and answered by itself',
  })
  async recordBatch(@Body({ schema: batch }) body: z.infer<typeof batch>, @Asks() asking: Asking) {
    const outcomes = await this.commands.runRows(
      asking,
      body.movements.map((movement) => ({
        command: movementCommand(movement),
        idempotencyKey: movement.idempotencyKey,
      })),
    );
    const accepted = outcomes.filter((outcome) => outcome.status === 201).length;
    return { accepted, refused: outcomes.length - accepted, outcomes };
  }

  @Post('counts')
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Record what was counted on a shelf; the difference becomes the movement' })
  count(@Body({ schema: count }) body: z.infer<typeof count>, @Asks() asking: Asking) {
    const { reference: about, ...rest } = body;
    return this.commands.run(asking, { type: 'CountStock', ...rest, reference: about && referenceOf(about) });
  }
}

function movementCommand(row: z.infer<typeof movement>): Command {
  switch (row.kind) {
    case 'received':
      return { type: 'ReceiveStock', ...stockOf(row), quantity: row.quantity };
    case 'sold':
      return { type: 'SellStock', ...stockOf(row), quantity: row.quantity };
    case 'returned':
      return { type: 'ReturnStock', ...stockOf(row), quantity: row.quantity, resellable: row.resellable };
    case 'adjusted':
      return { type: 'AdjustStock', ...stockOf(row), delta: row.delta };
  }
}

function stockOf({ sku, location, occurredAt, reason, reference, source }: z.infer<typeof movement>) {
  const about = reference === undefined ? undefined : referenceOf(reference);
  return { sku, location, occurredAt, reason, reference: about, source };
}

function referenceOf({ kind, number, line }: z.infer<typeof reference>): Reference {
  return { kind, number, ...(line !== undefined && { line }) };
}
