import { randomUUID } from 'node:crypto';
import { InjectQueue } from '@nestjs/bullmq';
import { Inject, Injectable } from '@nestjs/common';
import { Queue } from 'bullmq';
import { and, desc, eq } from 'drizzle-orm';
import { z } from 'zod';
import { CartProbes } from '../../cart-workers/cart-probes.js';
import { cartProbes, type ProbeWish } from '../../cart-workers/probes.table.js';
import type { QueueBackend } from '../../cart-workers/queue-backend.js';
import type { Database } from '../../database.js';
import { Problem } from '../http/problem.js';
import { DATABASE, QUEUE_BACKEND } from '../tokens.js';
import { PROBES } from './queue-names.js';

export const probeData = z.object({ probeId: z.uuid() });

/** Conformance probes as jobs: asked for here, carried out by probes.processor.ts in whichever process has the role. */
@Injectable()
export class Probes {
  constructor(
    @InjectQueue(PROBES) private readonly queue: Queue,
    @Inject(QUEUE_BACKEND) private readonly backend: QueueBackend,
    @Inject(DATABASE) private readonly database: Database,
    private readonly cartProbes: CartProbes,
  ) {}

  /** Starts one; where one of the same cart waits or runs already, that one is answered and nothing is started. */
  async start(cartId: string, wish: ProbeWish, by: string) {
    if (!this.backend.available())
      throw new Problem('unavailable', 'Redis does not answer; nothing was started. Try again when it is back.');
    const { id } = await this.cartProbes.ask(cartId, wish, by);
    await this.enqueue(id);
    return (await this.status(cartId, id))!;
  }

  async status(cartId: string, id: string) {
    const [row] = await this.database.orm
      .select()
      .from(cartProbes)
      .where(and(eq(cartProbes.cartId, cartId), eq(cartProbes.id, id)));
    return row === undefined ? null : shown(row);
  }

  async last(cartId: string) {
    const rows = await this.database.orm
      .select()
      .from(cartProbes)
      .where(eq(cartProbes.cartId, cartId))
      .orderBy(desc(cartProbes.askedAt), desc(cartProbes.id))
      .limit(SHOWN_MAX);
    return rows.map(shown);
  }

  /** A cart that is switched on while an item of it is not put back would be compared with a wrong number in it. */
  async refuseUnfinished(cartId: string): Promise<void> {
    const [left] = await this.cartProbes.unfinished(cartId);
    if (left === undefined) return;
    const detail =
      left.touched === null
        ? 'A probe of this cart waits or runs; switch the cart on when it has ended.'
        : `A probe has changed ${left.touched} at this cart and not put it back yet. Probe again, or look at the item and say it is right: POST /v1/carts/${cartId}/probe/left.`;
    throw new Problem('not-allowed-now', detail);
  }

  async leaveAsItIs(cartId: string): Promise<void> {
    await this.cartProbes.leaveAsItIs(cartId);
  }

  /** Everything that waits, was cut off, or left an item to be put back; asked for twice it is carried out once. */
  async takeUp(): Promise<void> {
    for (const { id } of await this.cartProbes.unfinished(null)) await this.enqueue(id);
  }

  private async enqueue(probeId: string): Promise<void> {
    await this.queue.add(
      'probe',
      { probeId },
      {
        jobId: randomUUID(),
        attempts: ATTEMPTS_MAX,
        backoff: { type: 'exponential', delay: 2_000, jitter: 0.5 },
        removeOnComplete: { count: 100 },
        removeOnFail: { count: 100 },
      },
    );
  }
}

/** A shop that is down is tried for a quarter of an hour or so; later the next start, or the next probe, puts things right. */
const ATTEMPTS_MAX = 9;
const SHOWN_MAX = 20;

function shown({
  id,
  cartId,
  wish,
  by,
  state,
  steps,
  touched,
  result,
  error,
  askedAt,
  endedAt,
}: typeof cartProbes.$inferSelect) {
  return {
    id,
    cartId,
    ...wish,
    by,
    state,
    steps,
    /** An item that still has to be put back. */
    notPutBack: touched === null ? null : { key: touched.key, before: touched.before },
    scriptVersion: result?.scriptVersion ?? null,
    found: result?.found ?? null,
    findings: result?.findings ?? [],
    evidence: result?.evidence ?? [],
    error,
    askedAt: askedAt.toISOString(),
    endedAt: endedAt?.toISOString() ?? null,
  };
}
