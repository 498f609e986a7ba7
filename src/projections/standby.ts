import type { Database } from '../database.js';
import { hasSettledAfter } from '../events/event-reader.js';
import { appoint, holdProjection, readCheckpoint } from './checkpoint.js';

/** How often a projector that stands by looks at the one that is effective. */
export const standbyPollMs = 250;
/**
 * So many looks in a row at facts that lie there, with the checkpoint unmoved: the effective projector is connected but
 * does not come to them. Looks are counted and not time, because whoever looks may have been frozen itself.
 */
const idleLooksMax = 4;

/** Why it took over: nobody was effective, the one that was is gone, or it is connected and left facts lying. */
export type TakeOver = { readonly why: 'vacant' } | { readonly why: 'gone' | 'idle'; readonly from: string };

/**
 * The watch of a projector that stands by. Which one is effective is written beside the checkpoint, so that one works and
 * the others wait, instead of all of them doing the same batch and all but one throwing it away. This only saves work:
 * what makes a batch count is the checkpoint's compare-and-set.
 */
export class Standby {
  private checkpoint = '';
  private idleLooks = 0;

  constructor(
    private readonly database: Database,
    private readonly projection: string,
    /** Under which this process says that it lives. */
    private readonly name: string,
  ) {}

  /**
   * One look. Makes this projector the effective one when there is none, when its process is gone, or when it leaves facts
   * lying. A batch under way keeps it in place, however long it takes, because its transaction holds the projection.
   * @returns null: goes on standing by
   */
  async takeOver(): Promise<TakeOver | null> {
    const client = await this.database.pool.connect();
    try {
      await client.query('BEGIN');
      const from = await readCheckpoint(client, this.projection, this.name);
      const idle = !from.stopped && (from.recomputing !== null || (await hasSettledAfter(client, from)));
      const verdict = this.judge(from, idle);
      const taken =
        verdict !== null &&
        (await holdProjection(client, this.projection)) &&
        (await appoint(client, this.projection, from, this.name));
      await client.query('COMMIT');
      return taken ? verdict : null;
    } catch (error) {
      await client.query('ROLLBACK').catch(() => undefined);
      throw error;
    } finally {
      client.release();
    }
  }

  private judge(from: Awaited<ReturnType<typeof readCheckpoint>>, idle: boolean): TakeOver | null {
    const checkpoint = [from.generation, from.transactionId, from.position, from.recomputing].join(' ');
    this.idleLooks = idle && checkpoint === this.checkpoint ? this.idleLooks + 1 : 0;
    this.checkpoint = checkpoint;
    if (from.projector === null) return { why: 'vacant' };
    if (!from.projectorLives) return { why: 'gone', from: from.projector };
    return this.idleLooks >= idleLooksMax ? { why: 'idle', from: from.projector } : null;
  }
}
