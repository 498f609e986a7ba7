import { stat } from 'node:fs/promises';
import { Inject, Injectable } from '@nestjs/common';
import type { Database } from '../../database.js';
import type { ResetSourceSettings } from '../../events/facts.js';
import { reached } from '../../moments.js';
import { DATABASE } from '../tokens.js';
import { matchesPattern, momentOfFile } from './file-moment.js';
import { FilePlaceError, type FilePlace, type PlacedFile } from './file-place.js';
import { ResetSources } from './reset-sources.js';
import { TakeFile } from './take-file.js';

export interface Look {
  /** Files that were taken in; at most one, because each waits for the one before. */
  readonly taken: number;
  /** Files whose size and time do not stand still for long enough yet, or that wait for another one. */
  readonly watched: number;
}

/** One look into the folder of a source: watches what is new, and takes the oldest file that stands still. */
@Injectable()
export class LookForFiles {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    private readonly sources: ResetSources,
    private readonly files: TakeFile,
  ) {}

  /** What is wrong is noted at the source and shown there; it is looked at again by itself. */
  async look(sourceId: string, by: string): Promise<Look> {
    const source = await this.sources.find(sourceId);
    if (source === null || source.from.kind === 'upload') return { taken: 0, watched: 0 };
    try {
      const look = await this.lookAt(source, by);
      await this.noteLook(sourceId, null);
      return look;
    } catch (error) {
      if (!(error instanceof FilePlaceError)) throw error;
      await this.noteLook(sourceId, error.message);
      return { taken: 0, watched: 0 };
    }
  }

  private async lookAt(source: ResetSourceSettings, by: string): Promise<Look> {
    const place = await this.sources.open(source);
    try {
      const found = (await place.list()).filter(({ name }) => matchesPattern(source.files, name) && name.length <= 255);
      await this.watch(source.sourceId, found);
      reached('reset:files-seen');
      const settled = await this.settled(source);
      if (await this.isBusy(source.sourceId)) return { taken: 0, watched: settled.length };
      for (const file of settled)
        if (await this.fetchAndTake(source, place, file, by)) return { taken: 1, watched: settled.length - 1 };
      return { taken: 0, watched: settled.length };
    } finally {
      await place.close();
    }
  }

  /** New files and those that grew are watched from now on; those that are gone are forgotten. */
  private async watch(sourceId: string, found: readonly PlacedFile[]): Promise<void> {
    const values = JSON.stringify(found.map(({ name, size, modifiedAt }) => ({ name, size, modified_at: modifiedAt })));
    await this.database.pool.query(
      `WITH found AS (SELECT * FROM jsonb_to_recordset($2::jsonb) AS r (name text, size bigint, modified_at timestamptz)),
       gone AS (DELETE FROM reset_files f WHERE f.source_id = $1 AND f.state = 'seen'
                   AND NOT EXISTS (SELECT FROM found n WHERE n.name = f.name))
       INSERT INTO reset_files AS f (id, source_id, name, size, modified_at, state, by)
       SELECT gen_random_uuid(), $1, n.name, n.size, n.modified_at, 'seen', '' FROM found n
        WHERE NOT EXISTS (SELECT FROM reset_files k WHERE k.source_id = $1 AND k.name = n.name AND k.size = n.size
                             AND k.modified_at = n.modified_at)
       ON CONFLICT (source_id, name) WHERE state = 'seen' DO UPDATE
          SET size = excluded.size, modified_at = excluded.modified_at, seen_at = now()`,
      [sourceId, values],
    );
  }

  /** The oldest first, by the moment that they speak of. */
  private async settled(source: ResetSourceSettings): Promise<PlacedFile[]> {
    const { rows } = await this.database.pool.query<{ name: string; size: string; modified_at: Date }>(
      `SELECT name, size, modified_at FROM reset_files
        WHERE source_id = $1 AND state = 'seen' AND seen_at <= now() - $2 * interval '1 second' ORDER BY modified_at, name`,
      [source.sourceId, source.settleSeconds],
    );
    const moment = ({ name, modifiedAt }: PlacedFile) =>
      momentOfFile(source, name, modifiedAt) ?? modifiedAt.toISOString();
    return rows
      .map(({ name, size, modified_at }) => ({ name, size: Number(size), modifiedAt: modified_at }))
      .toSorted((a, b) => (moment(a) < moment(b) ? -1 : 1));
  }

  /** Files of one source are applied one after the other; one that waits for a person holds no other up. */
  private async isBusy(sourceId: string): Promise<boolean> {
    const { rows } = await this.database.pool.query(
      `SELECT FROM reset_files f JOIN imports i ON i.id = f.import_id
        WHERE f.source_id = $1 AND f.state = 'taken' AND i.state IN ('receiving', 'validating', 'applying') LIMIT 1`,
      [sourceId],
    );
    return rows.length > 0;
  }

  /** @returns false where it grew or vanished while it was read: it is watched on */
  private async fetchAndTake(
    source: ResetSourceSettings,
    place: FilePlace,
    file: PlacedFile,
    by: string,
  ): Promise<boolean> {
    return this.files.withTemporaryFile(async (path) => {
      const copied = await place.fetch(file.name, path).then(
        async () => (await stat(path)).size,
        async (error: unknown) => {
          if ((await place.stat(file.name)) !== null) throw error;
          return null;
        },
      );
      const after = await place.stat(file.name);
      const same =
        after !== null && after.size === file.size && after.modifiedAt.getTime() === file.modifiedAt.getTime();
      if (!same || copied !== file.size) {
        await this.watch(source.sourceId, after === null ? [] : [after]);
        return false;
      }
      return (await this.files.take(source, { ...file, path, preview: false, by, sent: false })) !== null;
    });
  }

  private async noteLook(sourceId: string, problem: string | null): Promise<void> {
    await this.database.pool.query(
      `INSERT INTO reset_looks (source_id, looked_at, problem) VALUES ($1, now(), $2)
       ON CONFLICT (source_id) DO UPDATE SET looked_at = now(), problem = $2`,
      [sourceId, problem],
    );
    // A file that came ends the waiting for it.
    await this.database.pool.query(
      `UPDATE reset_looks l SET expected_since = NULL, expected_until = NULL
        WHERE l.source_id = $1 AND EXISTS (SELECT FROM reset_files f WHERE f.source_id = $1 AND f.taken_at >= l.expected_since)`,
      [sourceId],
    );
  }
}
