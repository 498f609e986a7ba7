import { createHmac } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Patch, Post, Query, Req } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiConsumes, ApiHeader, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { ResetSourceSettings } from '../../events/facts.js';
import { Needs } from '../access/access.guard.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { CommandRunner } from '../http/command-runner.js';
import { anyText, flag, time } from '../http/fields.js';
import { idempotencyHeader } from '../http/open-api.js';
import { pageFields } from '../http/paging.js';
import { Problem } from '../http/problem.js';
import { fileOf, SILENCE_MS } from '../imports/file-body.js';
import { bytesMax } from '../imports/receive-import.js';
import { ENCRYPTION_KEY } from '../tokens.js';
import { FilePlaceError } from './file-place.js';
import { misfit, newResetSource, resetSourceChange, resetSourceId, type secret } from './reset-fields.js';
import { ResetFileReads } from './reset-file-reads.js';
import { ResetJobs } from './reset-jobs.js';
import { ResetSources } from './reset-sources.js';
import { HostKeyError } from './sftp-place.js';
import { TakeFile } from './take-file.js';

const listQuery = z.strictObject(pageFields);
const sendQuery = z.strictObject({
  name: anyText(200)
    .regex(/^[^/\\]+$/, 'must be a file’s name, without its folder')
    .default('upload.csv'),
  asOf: time
    .optional()
    .describe('The moment the numbers speak of; left out: as the source says, the file’s time being now'),
  preview: flag.default(false).describe('true: wait for somebody to look at it and apply it'),
});

@ApiTags('Daily reset')
@ApiBearerAuth()
@Controller('v1/reset-sources')
export class ResetSourcesController {
  constructor(
    private readonly commands: CommandRunner,
    private readonly sources: ResetSources,
    private readonly jobs: ResetJobs,
    private readonly files: TakeFile,
    private readonly reads: ResetFileReads,
    @Inject(ENCRYPTION_KEY) private readonly encryptionKey: Buffer,
  ) {}

  @Post()
  @Needs('admin')
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Add a source of daily resets: where its files lie, when they come, and what they know' })
  async add(@Body({ schema: newResetSource }) body: z.infer<typeof newResetSource>, @Asks() asking: Asking) {
    const { id, secret: told, name: wished, ordersSince, ...settings } = body;
    const whole = {
      sourceId: id,
      name: wished ?? id,
      // Repeated, the same request must be the same command.
      ordersSince: ordersSince ?? (await this.sources.find(id))?.ordersSince ?? new Date().toISOString(),
      ...settings,
    };
    checkFit(whole);
    await this.commands.run(this.masked(asking, told), { type: 'SaveResetSource', settings: whole, isNew: true });
    if (told !== undefined) await this.sources.putSecret(id, told);
    await this.commands.settle();
    return this.shown(id);
  }

  @Get()
  @ApiOperation({ summary: 'Every source of daily resets, and how looking for files goes' })
  list(@Query({ schema: listQuery }) query: z.infer<typeof listQuery>) {
    return this.sources.list(query);
  }

  @Get(':id')
  @ApiOperation({ summary: 'One source of daily resets' })
  get(@Param('id', { schema: resetSourceId }) id: string) {
    return this.shown(id);
  }

  @Patch(':id')
  @Needs('admin')
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Change a source; fields left out stay as they are' })
  async change(
    @Param('id', { schema: resetSourceId }) id: string,
    @Body({ schema: resetSourceChange }) body: z.infer<typeof resetSourceChange>,
    @Asks() asking: Asking,
  ) {
    const before = await this.settings(id);
    const { secret: told, ...given } = body;
    const named = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
    const settings: ResetSourceSettings = { ...before, ...named };
    checkFit(settings);
    await this.commands.run(this.masked(asking, told), { type: 'SaveResetSource', settings, isNew: false });
    if (told !== undefined) await this.sources.putSecret(id, told);
    await this.commands.settle();
    return this.shown(id);
  }

  @Delete(':id')
  @Needs('admin')
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Remove a source with its secret; what its files did stays' })
  async remove(@Param('id', { schema: resetSourceId }) id: string, @Asks() asking: Asking) {
    await this.commands.run(asking, { type: 'RemoveResetSource', sourceId: id });
    await this.sources.putSecret(id, {});
    await this.commands.settle();
    return { id, removed: true };
  }

  @Post(':id/test')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Look into the folder of a source without reading anything; shows the key of an SFTP server',
  })
  async test(@Param('id', { schema: resetSourceId }) id: string) {
    const source = await this.settings(id);
    try {
      const place = await this.sources.open(source);
      try {
        const files = await place.list();
        return { reachable: true, hostKey: null, problem: null, files: files.slice(0, FILES_SHOWN_MAX) };
      } finally {
        await place.close();
      }
    } catch (error) {
      if (error instanceof HostKeyError)
        return { reachable: true, hostKey: error.shown, problem: error.message, files: [] };
      if (error instanceof FilePlaceError) throw new Problem('reset-source-failed', error.message);
      throw error;
    }
  }

  @Post(':id/look')
  @HttpCode(202)
  @ApiOperation({ summary: 'Look for files now, in the background, whatever the schedule says' })
  async look(@Param('id', { schema: resetSourceId }) id: string, @Asks() asking: Asking) {
    const { from } = await this.settings(id);
    if (from.kind === 'upload')
      throw new Problem('not-allowed-now', `Files of this source are sent: POST /v1/reset-sources/${id}/files.`);
    await this.jobs.look(id, asking.by);
    return this.shown(id);
  }

  @Post(':id/files')
  @HttpCode(202)
  @ApiConsumes('text/csv')
  @ApiBody({
    schema: { type: 'string' },
    description: 'A reset file: facilityId, locationSeqId, idType, idValue, availableQty',
  })
  @ApiOperation({ summary: 'Send a reset file by hand; the same content twice is told so and does nothing' })
  async send(
    @Param('id', { schema: resetSourceId }) id: string,
    @Query({ schema: sendQuery }) { name, asOf, preview }: z.infer<typeof sendQuery>,
    @Req() request: FastifyRequest,
    @Asks() asking: Asking,
  ) {
    const modifiedAt = new Date();
    const source = await this.settings(id);
    const { bytes, charset } = fileOf(request);
    request.raw.socket.setTimeout(SILENCE_MS);
    try {
      const taken = await this.files.withTemporaryFile(async (path) => {
        await pipeline(Readable.from(limited(bytes)), createWriteStream(path));
        // From here on it is the sender who hears nothing, as long as a million rows take to be stored.
        request.raw.socket.setTimeout(0);
        const { size } = await stat(path);
        const file = { name, size, modifiedAt, path, charset, asOf, preview, by: asking.by, sent: true };
        return this.files.take(source, file);
      });
      if (taken === null)
        throw new Problem('unavailable', 'The same file is being received; send it again when that one has an end.');
      return this.reads.get(taken);
    } finally {
      request.raw.socket.setTimeout(0);
    }
  }

  private async shown(id: string) {
    return (await this.commands.found(() => this.sources.shown(id))) ?? unknownSource(id);
  }

  private async settings(id: string): Promise<ResetSourceSettings> {
    return (await this.commands.found(() => this.sources.find(id))) ?? unknownSource(id);
  }

  /** The request's hash is stored; with the secret itself in it, a weak one could be guessed from the hash. */
  private masked(asking: Asking, told: z.infer<typeof secret> | undefined): Asking {
    if (told === undefined) return asking;
    const mask = createHmac('sha256', this.encryptionKey).update(JSON.stringify(told)).digest('base64');
    return { ...asking, body: { ...(asking.body as object), secret: mask } };
  }
}

const FILES_SHOWN_MAX = 100;

function unknownSource(id: string): never {
  throw new Problem('unknown-reset-source', `There is no reset source "${id}"; GET /v1/reset-sources lists them.`);
}

function checkFit(settings: ResetSourceSettings): void {
  const wrong = misfit(settings);
  if (wrong !== null) throw new Problem('invalid-request', `"${wrong.field}" ${wrong.detail}.`, [wrong]);
}

async function* limited(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let read = 0;
  for await (const chunk of bytes) {
    read += chunk.byteLength;
    if (read > bytesMax)
      throw new Problem('too-large', `The file is larger than ${bytesMax / 1024 / 1024} MB; split it into several.`);
    yield chunk;
  }
}
