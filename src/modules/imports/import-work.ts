import { Inject, Injectable } from '@nestjs/common';
import { eq } from 'drizzle-orm';
import type { Database } from '../../database.js';
import { EventStore } from '../../events/event-store.js';
import { reached } from '../../moments.js';
import { Projector } from '../../projections/projector.js';
import { DATABASE } from '../tokens.js';
import { applyImport } from './apply-import.js';
import { imports, type ImportState } from './imports.table.js';
import type { StoredImport } from './imports.js';
import { validateImport, type ValidatedCounts } from './validate-import.js';
import { validateReset } from './validate-reset.js';
import { whyHeld, whyOlder } from './reset-plan.js';

/**
 * A file of kits is held against the kits there are, a reset against the stock: both stand in projections, and a file that
 * comes right behind another one has to find what that did. Where somebody's transaction holds the log back for longer than
 * this, the file is judged by what is known; the deciders have the last word on each of its rows.
 */
const projectedWithinMs = 10_000;

/** Brings one import from wherever it stands to where it has to wait for somebody, or to its end. */
@Injectable()
export class ImportWork {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    private readonly store: EventStore,
    @Inject(Projector) private readonly projector: Pick<Projector, 'applied'>,
  ) {}

  /**
   * @param stopped asked between two steps; true: leave it as it is, another worker goes on
   * @returns the state in which it was left; null: there is no such import
   * @throws what the database threw; the import says so too, and stands where it stood
   */
  async run(id: string, stopped: () => boolean): Promise<ImportState | null> {
    try {
      const found = await this.find(id);
      if (found?.state === 'validating') await this.validate(found, stopped);
      const valid = await this.find(id);
      if (valid?.state === 'applying') await this.apply(valid, stopped);
      return (await this.find(id))?.state ?? null;
    } catch (error) {
      const fault = error instanceof Error ? error.message : String(error);
      await this.database.orm
        .update(imports)
        .set({ fault })
        .where(eq(imports.id, id))
        .catch(() => undefined);
      throw error;
    }
  }

  private async validate(found: StoredImport, stopped: () => boolean): Promise<void> {
    if (found.kind === 'reset' || found.kind === 'kits') await this.projector.applied(projectedWithinMs);
    if (found.kind === 'reset') return this.validateReset(found, stopped);
    const counts = await validateImport(this.database, found, stopped);
    if (counts === null) return;
    const problem = verdict(found, counts);
    const state = problem !== null ? 'refused' : found.preview ? 'ready' : 'applying';
    await this.database.pool.query(
      `UPDATE imports
          SET state = $2, problem = $3, refused = $4, unchanged = $5, validated_through = last_row, fault = NULL, updated_at = now(),
              ended_at = CASE WHEN $2 = 'refused' THEN now() END,
              apply_started_at = CASE WHEN $2 = 'applying' THEN now() END
        WHERE id = $1 AND state = 'validating'`,
      [found.id, state, problem, counts.refused, counts.unchanged],
    );
  }

  /** Items that the file does not hold are rows of it from here on. A reset that would change too much waits for a person. */
  private async validateReset(found: StoredImport, stopped: () => boolean): Promise<void> {
    const plan = found.reset!;
    const counts = await validateReset(this.database, { ...found, kind: 'reset', reset: plan }, stopped);
    if (counts === null) return;
    const problem = verdict(found, counts) ?? whyOlder(plan, counts.check);
    const held = problem === null ? whyHeld(plan, counts.check, found.received) : null;
    const state = problem !== null ? 'refused' : held !== null ? 'ready' : 'applying';
    await this.database.pool.query(
      `UPDATE imports
          SET state = $2, problem = $3, refused = $4, unchanged = $5, received = received + $6, last_row = $7, validated_through = $7,
              held = $8, reset_check = $9, fault = NULL, updated_at = now(),
              ended_at = CASE WHEN $2 = 'refused' THEN now() END,
              apply_started_at = CASE WHEN $2 = 'applying' THEN now() END
        WHERE id = $1 AND state = 'validating'`,
      [
        found.id,
        state,
        problem,
        counts.refused,
        counts.unchanged,
        counts.absent,
        counts.lastRow,
        held,
        JSON.stringify(counts.check),
      ],
    );
  }

  private async apply(valid: StoredImport, stopped: () => boolean): Promise<void> {
    const ended = await applyImport({ database: this.database, store: this.store }, valid, stopped);
    if (!ended) return;
    await this.database.pool.query(
      `UPDATE imports SET state = 'done', ended_at = now(), updated_at = now(), fault = NULL WHERE id = $1 AND state = 'applying'`,
      [valid.id],
    );
    reached('import:applied');
  }

  private async find(id: string): Promise<StoredImport | undefined> {
    const [found] = await this.database.orm.select().from(imports).where(eq(imports.id, id));
    return found;
  }
}

/** Why nothing is applied; null: something is. */
function verdict({ onError, received }: StoredImport, { refused, valid, unchanged }: ValidatedCounts): string | null {
  const where = 'rows.csv?outcome=refused tells of each row what to mend.';
  if (onError === 'stop' && refused > 0)
    return `${refused} of ${received} rows ${refused === 1 ? 'is' : 'are'} wrong, so nothing is applied; ${where} Or send it with onError=skip.`;
  return valid + unchanged === 0 ? `Every row is wrong, so there is nothing to apply; ${where}` : null;
}
