import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Put, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import type { Database } from '../../database.js';
import { dryRun } from '../../projections/availability/dry-run.js';
import { Needs } from '../access/access.guard.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { CommandRunner } from '../http/command-runner.js';
import { idempotencyHeader } from '../http/open-api.js';
import { digits, pageFields } from '../http/paging.js';
import { Problem } from '../http/problem.js';
import { DATABASE } from '../tokens.js';
import { dryRunBody, ruleBody, ruleId, ruleOf } from './rule-fields.js';
import { refuseTried } from './refuse-tried.js';
import { RuleReads } from './rule-reads.js';
import { RuleWarnings } from './rule-warnings.js';

const listQuery = z.strictObject(pageFields);
const undoBody = z.strictObject({
  to: digits.optional().describe('Version to go back to; left out: what it was before its last change'),
});
const runId = z.uuid('must be the id of a run');

@ApiTags('Rules')
@ApiBearerAuth()
@Controller('v1')
export class RulesController {
  constructor(
    private readonly commands: CommandRunner,
    private readonly rules: RuleReads,
    private readonly warnings: RuleWarnings,
    @Inject(DATABASE) private readonly database: Database,
  ) {}

  @Get('rules')
  @ApiOperation({ summary: 'Every rule of what carts show, and the version of the rule set' })
  list(@Query({ schema: listQuery }) query: z.infer<typeof listQuery>) {
    return this.rules.list(query);
  }

  @Get('rules/:id')
  @ApiOperation({ summary: 'One rule with its versions, also after it was removed' })
  async get(@Param('id', { schema: ruleId }) id: string) {
    const found = await this.commands.found(async () => {
      const versions = await this.rules.versions(id);
      return versions.length === 0 ? null : { rule: await this.rules.find(id), versions };
    });
    return found ?? unknownRule(id);
  }

  @Put('rules/:id')
  @Needs('admin')
  @ApiHeader(idempotencyHeader)
  @ApiOperation({
    summary: 'Save a rule under its id; the answer warns where it can never apply',
    description: 'If-Match takes the version of the rule set, so that nothing is saved on rules that nobody looked at.',
  })
  async save(
    @Param('id', { schema: ruleId }) id: string,
    @Body({ schema: ruleBody }) body: z.infer<typeof ruleBody>,
    @Asks() asking: Asking,
  ) {
    const rule = ruleOf(id, body);
    const { facts } = await this.commands.run(asking, { type: 'SaveRule', rule, by: asking.by });
    await this.commands.settle();
    return { rule: await this.rules.find(id), warnings: await this.warnings.of(rule), facts };
  }

  @Delete('rules/:id')
  @Needs('admin')
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Remove a rule; undo brings it back' })
  async remove(@Param('id', { schema: ruleId }) id: string, @Asks() asking: Asking) {
    const { facts } = await this.commands.run(asking, { type: 'RemoveRule', ruleId: id, by: asking.by });
    await this.commands.settle();
    return { rule: null, facts };
  }

  @Post('rules/:id/undo')
  @HttpCode(200)
  @Needs('admin')
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Make a rule what it was before its last change, or in an earlier version' })
  async undo(
    @Param('id', { schema: ruleId }) id: string,
    @Body({ schema: undoBody }) { to }: z.infer<typeof undoBody>,
    @Asks() asking: Asking,
  ) {
    await this.commands.settle();
    const versions = await this.rules.versions(id);
    if (versions.length === 0) unknownRule(id);
    const wanted = to === undefined ? versions[1] : versions.find(({ version }) => version === to);
    if (wanted === undefined && to !== undefined) {
      const detail = `must be one of the rule's versions: ${versions.map(({ version }) => version).join(', ')}`;
      throw new Problem('invalid-request', `There is no version ${to} of the rule ${id}.`, [{ field: 'to', detail }]);
    }
    const rule = wanted?.rule ?? null;
    const { facts } = await this.commands.run(
      asking,
      rule === null
        ? { type: 'RemoveRule', ruleId: id, by: asking.by }
        : { type: 'RestoreRule', rule: ruleOf(id, rule), from: wanted?.version ?? '', by: asking.by },
    );
    await this.commands.settle();
    return { rule: await this.rules.find(id), facts };
  }

  @Post('rules/dry-run')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Which listings other rules would change, from what to what, with totals per cart; nothing is changed',
  })
  async dryRun(@Body({ schema: dryRunBody }) { save, remove, limit }: z.infer<typeof dryRunBody>) {
    const rules = save.map(({ id, ...rule }) => ruleOf(id, rule));
    await refuseTried(this.database, rules, remove);
    return dryRun(this.database, { save: rules, remove }, limit);
  }

  @Get('recompute-runs')
  @ApiOperation({ summary: 'Changes of rules, days, locations and switches, and how far their listings are' })
  runs(@Query({ schema: listQuery }) query: z.infer<typeof listQuery>) {
    return this.rules.runs(query);
  }

  @Get('recompute-runs/:id')
  @ApiOperation({ summary: 'How far the listings of one change are' })
  run(@Param('id', { schema: runId }) id: string) {
    return this.rules.run(id);
  }
}

function unknownRule(id: string): never {
  throw new Problem('unknown-rule', `There is no rule "${id}", and never was; GET /v1/rules lists them.`);
}
