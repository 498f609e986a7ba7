import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { rebuildNames, type RebuildName } from '../../projections/rebuild.js';
import { Needs } from '../access/access.guard.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { pageFields } from '../http/paging.js';
import { Problem } from '../http/problem.js';
import { ProjectionRuns } from './projection-runs.js';
import { runStates } from './projection-runs.table.js';

const rebuildBody = z.strictObject({
  apply: z.boolean().default(false).describe('false: show what would change. true: mend it'),
});
const listQuery = z.strictObject({ state: z.enum(runStates).optional(), ...pageFields });
const runId = z.uuid('must be the id of a run');
const projectionName = z.string().min(1).max(64);

@ApiTags('Projections')
@ApiBearerAuth()
@Controller('v1/projections')
export class ProjectionsController {
  constructor(private readonly runs: ProjectionRuns) {}

  @Post('verify')
  @HttpCode(202)
  @ApiOperation({ summary: 'Check, while everything runs, that all that is stored follows from the log (I1 to I3)' })
  verify(@Asks() asking: Asking) {
    return this.runs.begin({ kind: 'verify', by: asking.by });
  }

  @Post(':projection/rebuild')
  @HttpCode(202)
  @Needs('admin')
  @ApiOperation({
    summary: 'Compare quantity-on-hand, velocity or availability with the log; with apply, mend what differs',
  })
  rebuild(
    @Param('projection', { schema: projectionName }) projection: string,
    @Body({ schema: rebuildBody }) { apply }: z.infer<typeof rebuildBody>,
    @Asks() asking: Asking,
  ) {
    return this.runs.begin({ kind: 'rebuild', projection: rebuildable(projection), apply, by: asking.by });
  }

  @Get('runs')
  @ApiOperation({ summary: 'Verifies and rebuilds, the last begun first' })
  list(@Query({ schema: listQuery }) query: z.infer<typeof listQuery>) {
    return this.runs.list(query);
  }

  @Get('runs/:id')
  @ApiOperation({ summary: 'How far a verify or rebuild is, and the first 100 differences it found' })
  get(@Param('id', { schema: runId }) id: string) {
    return this.runs.shown(id);
  }

  @Post('runs/:id/cancel')
  @HttpCode(200)
  @ApiOperation({ summary: 'End a verify or rebuild; what was mended stays so' })
  cancel(@Param('id', { schema: runId }) id: string) {
    return this.runs.cancel(id);
  }
}

const neverRebuilt = ['listings', 'web-stack', 'deliveries', 'attempts'];

/** @throws Problem for what cannot be, in a sentence that says why */
function rebuildable(name: string): RebuildName {
  const known = rebuildNames.find((rebuildName) => rebuildName === name);
  if (known !== undefined) return known;
  if (name === 'ledger') {
    throw new Problem(
      'not-allowed-now',
      'The ledger is the log itself: there is nothing behind it to rebuild it from. POST /v1/projections/verify checks its balances.',
    );
  }
  if (neverRebuilt.includes(name)) {
    throw new Problem(
      'not-allowed-now',
      `${name} is never rebuilt, only verified: it is what carts were told, and telling it again would change their stock. Where it is wrong, compare the cart (Send QOH).`,
    );
  }
  throw new Problem('not-found', `There is no projection "${name}"; it is one of ${rebuildNames.join(', ')}.`);
}
