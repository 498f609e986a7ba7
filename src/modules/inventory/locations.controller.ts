import { Body, Controller, Get, HttpCode, Inject, Param, Patch, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiTags } from '@nestjs/swagger';
import { and, arrayOverlaps, gt, ne } from 'drizzle-orm';
import { z } from 'zod';
import type { Database } from '../../database.js';
import { locations } from '../../projections/projections.table.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { CommandRunner } from '../http/command-runner.js';
import { location, name, otherCode } from '../http/fields.js';
import { idempotencyHeader } from '../http/open-api.js';
import { decodeCursor, pageFields, pageOf } from '../http/paging.js';
import { Problem } from '../http/problem.js';
import { DATABASE } from '../tokens.js';

/** A place has a code or two per program that speaks of it. */
const OTHER_CODES_MAX = 50;
const otherCodes = z.array(otherCode).max(OTHER_CODES_MAX).optional();
const newLocation = z.strictObject({ location, name, otherCodes });
const locationChange = z
  .strictObject({ name: name.optional(), otherCodes })
  .refine((fields) => Object.values(fields).some((value) => value !== undefined), {
    message: 'must name at least one field to change',
  });
const query = z.strictObject(pageFields);

@ApiTags('Stock')
@ApiBearerAuth()
@Controller('v1/locations')
export class LocationsController {
  constructor(
    private readonly commands: CommandRunner,
    @Inject(DATABASE) private readonly database: Database,
  ) {}

  @Post()
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Add a warehouse or shop' })
  async add(@Body({ schema: newLocation }) body: z.infer<typeof newLocation>, @Asks() asking: Asking) {
    await this.checkCodes(body.location, body.otherCodes);
    return this.commands.run(asking, { type: 'AddLocation', ...body });
  }

  @Patch(':location')
  @HttpCode(200)
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Change a location’s name, or what other programs call it; fields left out stay' })
  async change(
    @Param('location', { schema: location }) code: string,
    @Body({ schema: locationChange }) body: z.infer<typeof locationChange>,
    @Asks() asking: Asking,
  ) {
    await this.checkCodes(code, body.otherCodes);
    return this.commands.run(asking, { type: 'ChangeLocation', location: code, ...body });
  }

  @Get()
  @ApiOperation({ summary: 'Every location, by code' })
  async list(@Query({ schema: query }) { cursor, limit }: z.infer<typeof query>) {
    const after = decodeCursor(cursor, z.tuple([z.string()]));
    const rows = await this.database.orm
      .select()
      .from(locations)
      .where(after === null ? undefined : gt(locations.location, after[0]))
      .orderBy(locations.location)
      .limit(limit + 1);
    return pageOf(
      rows,
      limit,
      (row) => [row.location],
      ({ version: _version, ...row }) => row,
    );
  }

  /** One word must not mean two places. Whoever finds two all the same, added at one moment, refuses to choose. */
  private async checkCodes(code: string, codes: readonly string[] | undefined): Promise<void> {
    if (codes === undefined || codes.length === 0) return;
    const [taken] = await this.database.orm
      .select({ location: locations.location })
      .from(locations)
      .where(and(ne(locations.location, code), arrayOverlaps(locations.otherCodes, [...codes])))
      .limit(1);
    if (taken === undefined) return;
    const detail = `must not name what means the location ${taken.location} already`;
    throw new Problem('invalid-request', `"otherCodes" ${detail}.`, [{ field: 'otherCodes', detail }]);
  }
}
