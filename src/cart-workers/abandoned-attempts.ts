import type { Database } from '../database.js';

/**
 * Tries of this process that may stand open although nobody here is at them any more: the database went away while they were
 * claimed, or while what they found out was written. Everybody else has to believe that they are under way, since their
 * worker lives, and would wait for their deadline: eight calls' time where a cart is read. Ended here, the listing goes on
 * as soon as the database is back.
 *
 * Only tries that sent nothing belong here: readings, settlements, and what was never told that it holds a claim. Bytes that
 * have left may take effect until the deadline, whoever wrote them.
 */
export class AbandonedAttempts {
  private readonly ids = new Set<string>();

  /** @param attemptId it may never have reached the database, or have ended: then there is nothing to end */
  add(attemptId: string): void {
    this.ids.add(attemptId);
  }

  /** @throws what the database threw; they are kept for the next time */
  async end(database: Database): Promise<void> {
    if (this.ids.size === 0) return;
    const ids = [...this.ids];
    await database.pool.query(
      `UPDATE attempts SET ended_at = clock_timestamp(), outcome = 'lost', response = 'Nothing was sent; the database was away'
        WHERE id = ANY ($1::uuid[]) AND ended_at IS NULL`,
      [ids],
    );
    for (const id of ids) this.ids.delete(id);
  }
}
