import { Controller, Get, HttpCode, Inject, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { CartSecrets } from '../../cart-workers/cart-secrets.js';
import { LaneControl } from '../../cart-workers/lane-control.js';
import type { QueueBackend } from '../../cart-workers/queue-backend.js';
import type { Config } from '../../config.js';
import type { Database } from '../../database.js';
import { livingProcesses } from '../../presence.js';
import { Projector } from '../../projections/projector.js';
import { Needs, Open } from '../access/access.guard.js';
import { Problem } from '../http/problem.js';
import { version } from '../start/version.js';
import { CONFIG, DATABASE, QUEUE_BACKEND } from '../tokens.js';

@ApiTags('Health')
@Controller('v1')
export class HealthController {
  private readonly startedAt = new Date();

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    @Inject(DATABASE) private readonly database: Database,
    @Inject(QUEUE_BACKEND) private readonly backend: QueueBackend,
    private readonly projector: Projector,
    private readonly lanes: LaneControl,
    private readonly secrets: CartSecrets,
  ) {}

  @Get('health/live')
  @Open('Supervisors ask it before they have a key, and it tells nothing but that the process answers')
  @ApiOperation({ summary: 'The process answers. For supervisors; needs no key.' })
  live() {
    return { status: 'live' };
  }

  @Get('health/ready')
  @ApiBearerAuth()
  @ApiOperation({ summary: 'Requests can be served: the database answers and the projector does not stand' })
  async ready() {
    const status = await this.projector.status().catch(() => null);
    if (status === null)
      throw new Problem(
        'unavailable',
        'The database does not answer; look at it, the hub goes on by itself when it is back.',
      );
    if (status.stopped !== null) {
      const { type, stream, version: at } = status.stopped;
      throw new Problem(
        'unavailable',
        `The projector stands at ${type} (${stream}, version ${at}). GET /v1/projector says why; nothing was skipped. Mend the cause, then POST /v1/projector/resume.`,
      );
    }
    return { status: 'ready', projector: { state: status.state, lagMs: status.lagMs } };
  }

  @Get('status')
  @ApiBearerAuth()
  @ApiOperation({ summary: 'The whole hub at a glance' })
  async status() {
    const [projector, processes, lanes, secrets, maxmemoryPolicy, server] = await Promise.all([
      this.projector.status(),
      livingProcesses(this.database),
      this.lanes.statuses(),
      this.secrets.survey(),
      this.backend.maxmemoryPolicy(),
      this.database.pool.query<{ server_version: string }>('SHOW server_version'),
    ]);
    return {
      version,
      roles: this.config.roles,
      startedAt: this.startedAt.toISOString(),
      projector,
      // Every process on this database; a frozen one is still connected, and silent.
      processes: processes.map((one) => ({ ...one, effectiveProjector: one.name === projector.effective?.name })),
      lanes,
      secrets,
      backend: {
        queues: this.backend.kind,
        maxmemoryPolicy,
        database: this.config.databaseUrl === undefined ? 'embedded' : 'external',
      },
      versions: { onhand: version, node: process.versions.node, postgres: server.rows[0]?.server_version ?? null },
    };
  }

  @Get('projector')
  @ApiBearerAuth()
  @ApiOperation({ summary: 'How far the projector is, what stopped it, and who holds the reading horizon' })
  projectorStatus() {
    return this.projector.status();
  }

  @Post('projector/resume')
  @HttpCode(200)
  @Needs('admin')
  @ApiBearerAuth()
  @ApiOperation({
    summary: 'Try the fact again that stopped the projector, after its cause was mended. It is never skipped.',
  })
  async resume() {
    await this.projector.resume();
    return this.projector.status();
  }
}
