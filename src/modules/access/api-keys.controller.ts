import { Body, Controller, Delete, Get, HttpCode, Param, Post, Req } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { name, time } from '../http/fields.js';
import { Problem } from '../http/problem.js';
import { Needs, type CallerRequest } from './access.guard.js';
import { ApiKeys, type ApiKeyRow } from './api-keys.js';
import { scopes } from './api-keys.table.js';

const newKey = z.strictObject({
  name: name.describe('Who or what will use it'),
  scope: z
    .enum(scopes)
    .default('read')
    .describe('read: look. operate: also change stock, orders and lanes. admin: also carts, switches and keys.'),
  expiresAt: time.optional(),
});

@ApiTags('API keys')
@ApiBearerAuth()
@Needs('admin')
@Controller('v1/api-keys')
export class ApiKeysController {
  constructor(private readonly keys: ApiKeys) {}

  @Post()
  @ApiOperation({ summary: 'Make an API key. The answer shows it, and nothing ever will again.' })
  async create(@Body({ schema: newKey }) body: z.infer<typeof newKey>) {
    const { key, ...row } = await this.keys.create({
      name: body.name,
      scope: body.scope,
      expiresAt: body.expiresAt === undefined ? null : new Date(body.expiresAt),
    });
    return { ...shown(row), key };
  }

  @Get()
  @ApiOperation({ summary: 'Every API key, without its secret part' })
  async list() {
    return { data: (await this.keys.list()).map(shown), nextCursor: null };
  }

  @Get('current')
  @Needs('read')
  @ApiOperation({ summary: 'The API key of this request: its name, scope and expiry' })
  current(@Req() { caller }: CallerRequest) {
    const { id, name, scope, expiresAt } = caller!;
    return { id, name, scope, expiresAt: expiresAt?.toISOString() ?? null };
  }

  @Delete(':id')
  @HttpCode(204)
  @ApiOperation({ summary: 'Revoke an API key; other processes follow within five seconds' })
  async revoke(@Param('id', { schema: z.uuid() }) id: string): Promise<void> {
    if (!(await this.keys.revoke(id)))
      throw new Problem('unknown-api-key', 'There is no API key with this id; GET /v1/api-keys lists them.');
  }
}

function shown(row: ApiKeyRow) {
  return {
    id: row.id,
    name: row.name,
    prefix: row.prefix,
    scope: row.scope,
    createdAt: row.createdAt.toISOString(),
    expiresAt: row.expiresAt?.toISOString() ?? null,
    lastUsedAt: row.lastUsedAt?.toISOString() ?? null,
    revokedAt: row.revokedAt?.toISOString() ?? null,
  };
}
