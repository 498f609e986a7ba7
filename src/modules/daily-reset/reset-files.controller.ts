import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { reason } from '../http/fields.js';
import { pageFields } from '../http/paging.js';
import { Problem } from '../http/problem.js';
import { Imports } from '../imports/imports.js';
import { resetSourceId } from './reset-fields.js';
import { ResetFileReads } from './reset-file-reads.js';

const listQuery = z.strictObject({ source: resetSourceId.optional(), ...pageFields });
const fileId = z.uuid('must be the id of a reset file');
const rejection = z.strictObject({ reason });

@ApiTags('Daily reset')
@ApiBearerAuth()
@Controller('v1/reset-files')
export class ResetFilesController {
  constructor(
    private readonly reads: ResetFileReads,
    private readonly imports: Imports,
  ) {}

  @Get()
  @ApiOperation({ summary: 'Reset files, the last seen first, and what became of each' })
  list(@Query({ schema: listQuery }) query: z.infer<typeof listQuery>) {
    return this.reads.list(query);
  }

  @Get(':id')
  @ApiOperation({ summary: 'One reset file: how far it is, what it changes, why it waits' })
  get(@Param('id', { schema: fileId }) id: string) {
    return this.reads.get(id);
  }

  @Post(':id/apply')
  @HttpCode(202)
  @ApiOperation({ summary: 'Let a reset file that is held through' })
  async apply(@Param('id', { schema: fileId }) id: string) {
    const importId = await this.importOf(id);
    const newer = await this.reads.appliedSince(id);
    if (newer !== null)
      throw new Problem(
        'not-allowed-now',
        `A file of ${newer}, which is newer, has been applied since; reject this one.`,
      );
    await this.imports.apply(importId);
    return this.reads.get(id);
  }

  @Post(':id/reject')
  @HttpCode(200)
  @ApiOperation({ summary: 'Reject a reset file that is held, with a reason; nothing of it is applied' })
  async reject(
    @Param('id', { schema: fileId }) id: string,
    @Body({ schema: rejection }) { reason: why }: z.infer<typeof rejection>,
    @Asks() asking: Asking,
  ) {
    await this.imports.cancel(await this.importOf(id));
    await this.reads.noteRejected(id, `Rejected by ${asking.by}: ${why}`);
    return this.reads.get(id);
  }

  /** @throws Problem where there is nothing to decide */
  private async importOf(id: string): Promise<string> {
    const file = await this.reads.get(id);
    if (file.import !== null && 'id' in file.import && ['held', 'applying', 'applied'].includes(file.state))
      return String(file.import.id);
    throw new Problem('not-allowed-now', `Only a file that is held waits for this; this one is ${file.state}.`);
  }
}
