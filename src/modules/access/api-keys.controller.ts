import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query, Req } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { flag, name, time } from '../http/fields.js';
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

const keyId = z.uuid('must be the id of an API key');
const revocation = z.strictObject({
  force: flag.default(false).describe('true: even when nobody is left who may make keys'),
});

@ApiTags('API keys')
@ApiBearerAuth()
@Needs('admin')
@Controller('v1/api-keys')
export class ApiKeysController {
  constructor(private readonly keys: ApiKeys) {}

  @Post()
  @ApiOperation({ summary: 'Make an API key. The answer shows it, and nothing ever will again.' })
  async create(@Body({ schema: newKey }) body: z.infer<typeof newKey>, @Req() { caller }: CallerRequest) {
    const wrong = wrongExpiry(body.expiresAt, caller!.expiresAt);
    if (wrong !== null)
      throw new Problem('invalid-request', `"expiresAt": ${wrong}.`, [{ field: 'expiresAt', detail: wrong }]);
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
  @ApiOperation({ summary: 'Revoke an API key, in every process at once. The last admin key only with force=true.' })
  async revoke(
    @Param('id', { schema: keyId }) id: string,
    @Query({ schema: revocation }) { force }: z.infer<typeof revocation>,
  ): Promise<void> {
    const outcome = await this.keys.revoke(id, force);
    if (outcome === 'unknown')
      throw new Problem('unknown-api-key', 'There is no API key with this id; GET /v1/api-keys lists them.');
    if (outcome === 'last-admin')
      throw new Problem(
        'last-admin-key',
        'This is the last valid admin key. Without it nobody can make keys or change carts until the hub is started anew, which makes one. Make another first, or repeat this with ?force=true.',
      );
  }
}

/**
 * A key cannot make a stronger one: only an admin key makes keys, so the scope is never more than its own; and what a key
 * makes ends with it at the latest. One that was over when it was made would only look like a key.
 */
function wrongExpiry(wished: string | undefined, own: Date | null): string | null {
  if (wished !== undefined && Date.parse(wished) <= Date.now()) return 'must lie in the future';
  if (own === null || (wished !== undefined && Date.parse(wished) <= own.getTime())) return null;
  return `must not be later than ${own.toISOString()}, when the key that makes it expires`;
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
