import { Body, Controller, Get, Inject, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiTags } from '@nestjs/swagger';
import { gt } from 'drizzle-orm';
import { z } from 'zod';
import type { Database } from '../../database.js';
import { locations } from '../../projections/projections.table.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { CommandRunner } from '../http/command-runner.js';
import { location, name } from '../http/fields.js';
import { idempotencyHeader } from '../http/open-api.js';
import { decodeCursor, pageFields, pageOf } from '../http/paging.js';
import { DATABASE } from '../tokens.js';

const newLocation = z.strictObject({ location, name });
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
  add(@Body({ schema: newLocation }) body: z.infer<typeof newLocation>, @Asks() asking: Asking) {
    return this.commands.run(asking, { type: 'AddLocation', ...body });
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
      (row) => row,
    );
  }
}
