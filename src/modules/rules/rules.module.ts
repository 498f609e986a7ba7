import { Module } from '@nestjs/common';
import { CloseDays } from './close-days.js';
import { DoubtfulReads } from './doubtful-reads.js';
import { DoubtfulController } from './doubtful.controller.js';
import { RefusedFlagsController } from './refused-flags.controller.js';
import { RefusedFlags } from './refused-flags.js';
import { RuleReads } from './rule-reads.js';
import { RuleWarnings } from './rule-warnings.js';
import { RulesController } from './rules.controller.js';

/** Rules are looked at and changed here; what follows from them is the projector's. */
@Module({
  controllers: [RulesController, DoubtfulController, RefusedFlagsController],
  providers: [RuleReads, RuleWarnings, DoubtfulReads, RefusedFlags],
  exports: [RuleReads, RefusedFlags],
})
export class RulesModule {}

/** Days are closed in processes with the role `worker`. */
@Module({ providers: [CloseDays] })
export class CalendarModule {}
