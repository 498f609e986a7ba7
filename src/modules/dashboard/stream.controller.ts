import { Controller, Get, Req, Res, type BeforeApplicationShutdown } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import type { CallerRequest } from '../access/access.guard.js';
import { Sessions } from '../access/sessions.js';
import { Problem } from '../http/problem.js';
import { version } from '../start/version.js';
import { EventStream } from './event-stream.js';
import { LaneFeed } from './lane-feed.js';

@ApiTags('Lanes')
@ApiBearerAuth()
@Controller('v1')
export class StreamController implements BeforeApplicationShutdown {
  private readonly streams = new Set<EventStream>();
  private stopping = false;

  constructor(
    private readonly feed: LaneFeed,
    private readonly sessions: Sessions,
  ) {}

  /** `Last-Event-ID` needs no answer: every event is the whole picture, so one that was missed is not missing. */
  @Get('stream')
  @ApiProduces('text/event-stream')
  @ApiOperation({
    summary:
      'Server-sent events: "hello" (who asks), "lanes" (every lane and how far changes of rules are, whenever something changed), "trouble"',
  })
  open(@Req() request: CallerRequest, @Res() reply: FastifyReply): void {
    if (this.stopping || this.streams.size >= STREAMS_MAX) {
      throw new Problem(
        'unavailable',
        this.stopping ? 'The hub is stopping.' : `${STREAMS_MAX} streams are open already; close some.`,
      );
    }
    reply
      .type('text/event-stream; charset=utf-8')
      .header('Cache-Control', 'no-cache, no-transform')
      .header('X-Accel-Buffering', 'no')
      .header('Connection', 'close');
    if (request.method === 'HEAD') {
      reply.send();
      return;
    }
    reply.send(this.startStream(request).body);
  }

  /** Streams never end by themselves, and a server waits for its answers before it closes. */
  beforeApplicationShutdown(): void {
    this.stopping = true;
    for (const stream of this.streams) stream.end();
  }

  private startStream(request: CallerRequest): EventStream {
    // A key that was revoked, or a session that is over, sees nothing more from the next heartbeat on.
    const stream = new EventStream(async () =>
      this.sessions.callerOf(request).then(
        (caller) => caller !== null,
        () => true,
      ),
    );
    this.streams.add(stream);
    const { name, scope } = request.caller!;
    stream.send({ event: 'hello', data: { caller: { name, scope }, version } });
    const unsubscribe = this.feed.subscribe((event) => stream.send(event));
    stream.body.once('close', () => {
      unsubscribe();
      this.streams.delete(stream);
    });
    return stream;
  }
}

const STREAMS_MAX = 500;
