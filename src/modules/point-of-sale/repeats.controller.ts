import { Controller, Get, Inject, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import type { Database } from '../../database.js';
import { DATABASE } from '../tokens.js';
import { findRepeats } from './find-repeats.js';

const query = z.strictObject({
  withinSeconds: z.coerce
    .number()
    .int()
    .min(1, 'must be 1 or more')
    .max(3_600, 'must be 3600 or less')
    .default(30)
    .describe('How soon after the other one'),
  hours: z.coerce.number().int().min(1, 'must be 1 or more').max(744, 'must be 744 or less').default(24),
  limit: z.coerce.number().int().min(1, 'must be 1 or more').max(200, 'must be 200 or less').default(50),
});

@ApiTags('Point of sale')
@ApiBearerAuth()
@Controller('v1/point-of-sale')
export class RepeatsController {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  @Get('repeats')
  @ApiOperation({
    summary: 'Calls without an Idempotency-Key that equal one shortly before: two sales, or one that was sent twice',
    description:
      'Both were counted, and nothing is taken back by itself. The newest first; looks at the last 100,000 movements of points of sale at most. Take one back with a movement of the other sign.',
  })
  async list(@Query({ schema: query }) asked: z.infer<typeof query>) {
    return { data: await findRepeats(this.database, asked) };
  }
}
