import { Readable } from 'node:stream';
import { Controller, Get, HttpCode, Param, Post, Query, Req, StreamableFile, type OnModuleInit } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { ApiBearerAuth, ApiBody, ApiConsumes, ApiHeader, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { refuseWithout, type CallerRequest } from '../access/access.guard.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { cartId, flag } from '../http/fields.js';
import { idempotencyHeader } from '../http/open-api.js';
import { pageFields } from '../http/paging.js';
import { Problem } from '../http/problem.js';
import { ImportPreview } from './import-preview.js';
import { ImportReads, shownImport } from './import-reads.js';
import { importKinds, importStates, rowsKinds } from './imports.table.js';
import { Imports } from './imports.js';
import { fileOf, SILENCE_MS } from './file-body.js';
import { takesFiles } from '../http/request-hooks.js';

const sendQuery = z.strictObject({
  kind: z.enum(rowsKinds, `must be one of ${rowsKinds.join(', ')}`),
  onError: z
    .enum(['stop', 'skip'], 'must be stop or skip')
    .default('stop')
    .describe('stop: one wrong row applies nothing. skip: wrong rows are left out.'),
  preview: flag.default(false).describe('true: wait, once valid, until it is told to apply'),
  cart: cartId.optional().describe('Whose keys a file of mappings holds'),
});
const listQuery = z.strictObject({
  kind: z.enum(importKinds).optional(),
  state: z.enum(importStates).optional(),
  ...pageFields,
});
const rowsQuery = z.strictObject({ outcome: z.enum(['applied', 'unchanged', 'refused']).optional() });
const importId = z.uuid('must be the id of an import');

@ApiTags('Imports')
@ApiBearerAuth()
@Controller('v1/imports')
export class ImportsController implements OnModuleInit {
  constructor(
    private readonly host: HttpAdapterHost,
    private readonly imports: Imports,
    private readonly reads: ImportReads,
    private readonly previews: ImportPreview,
  ) {}

  /** A file is not read into memory before anybody has looked at it: the body of this one route stays a stream. */
  onModuleInit(): void {
    const fastify = this.host.httpAdapter.getInstance<FastifyInstance>();
    fastify.addContentTypeParser('text/csv', (request, payload, done) => {
      if (takesFiles(request.routeOptions.url)) done(null, payload);
      else done(new Problem('unsupported-media-type', 'Send the body as JSON; files are taken at POST /v1/imports.'));
    });
  }

  @Post()
  @HttpCode(202)
  @ApiHeader(idempotencyHeader)
  @ApiConsumes('text/csv')
  @ApiBody({ schema: { type: 'string' }, description: 'A CSV file; its first row names the columns' })
  @ApiOperation({ summary: 'Send a CSV file of up to 1,000,000 rows; it is checked whole before any of it is applied' })
  async send(
    @Query({ schema: sendQuery }) query: z.infer<typeof sendQuery>,
    @Req() request: CallerRequest,
    @Asks() asking: Asking,
  ) {
    const { kind, onError, preview, cart } = query;
    // As at PUT /v1/kits/{sku}.
    if (kind === 'kits' && request.caller) refuseWithout('admin', request.caller);
    const { client, by, idempotencyKey } = asking;
    const { bytes, charset } = fileOf(request);
    request.raw.socket.setTimeout(SILENCE_MS);
    try {
      const asked = { kind, onError, preview, cartId: cart ?? null, client, by, idempotencyKey };
      const { id, replayed } = await this.imports.receive(asked, bytes, charset);
      if (replayed) asking.reply.header('Idempotent-Replayed', 'true');
      return shownImport(await this.imports.get(id));
    } finally {
      request.raw.socket.setTimeout(0);
    }
  }

  @Get()
  @ApiOperation({ summary: 'Imports, the last sent first' })
  list(@Query({ schema: listQuery }) query: z.infer<typeof listQuery>) {
    return this.reads.list(query);
  }

  @Get(':id')
  @ApiOperation({ summary: 'How far an import is, and the first rows that were refused' })
  async get(@Param('id', { schema: importId }) id: string) {
    return this.reads.withProblems(await this.imports.get(id));
  }

  @Get(':id/preview')
  @ApiOperation({ summary: 'What an import that is ready would change: totals, and the first 100 differences' })
  async preview(@Param('id', { schema: importId }) id: string) {
    return this.previews.of(await this.imports.get(id));
  }

  @Get(':id/rows.csv')
  @ApiOperation({ summary: 'Every row with its outcome, as CSV; correct the refused ones and send them again' })
  async rows(
    @Param('id', { schema: importId }) id: string,
    @Query({ schema: rowsQuery }) { outcome }: z.infer<typeof rowsQuery>,
  ): Promise<StreamableFile> {
    const found = await this.imports.get(id);
    return new StreamableFile(Readable.from(this.reads.rowsCsv(found, outcome), { objectMode: false }), {
      type: 'text/csv; charset=utf-8',
      disposition: `attachment; filename="import-${id}.csv"`,
    });
  }

  @Post(':id/apply')
  @HttpCode(202)
  @ApiOperation({ summary: 'Apply an import that is ready' })
  async apply(@Param('id', { schema: importId }) id: string) {
    await this.imports.apply(id);
    return shownImport(await this.imports.get(id));
  }

  @Post(':id/cancel')
  @HttpCode(200)
  @ApiOperation({ summary: 'Give an import up before it applies' })
  async cancel(@Param('id', { schema: importId }) id: string) {
    await this.imports.cancel(id);
    return shownImport(await this.imports.get(id));
  }
}
