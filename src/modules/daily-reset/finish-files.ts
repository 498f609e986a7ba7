import { Inject, Injectable } from '@nestjs/common';
import type { Database } from '../../database.js';
import { reached } from '../../moments.js';
import { shownImport } from '../imports/import-reads.js';
import { brokenOffSentence, Imports } from '../imports/imports.js';
import { DATABASE } from '../tokens.js';
import { archiveName, FilePlaceError } from './file-place.js';
import { ResetSources } from './reset-sources.js';
import type { ResetFileState } from './reset-files.table.js';

const ARCHIVE_TRIES_MAX = 5;
const KEPT_DAYS = 400;

interface EndedFile {
  readonly id: string;
  readonly source_id: string;
  readonly name: string;
  readonly import_id: string | null;
  readonly state: ResetFileState;
  readonly import_state: string | null;
}

interface LeavingFile {
  readonly id: string;
  readonly name: string;
  readonly size: number;
  readonly modified_at: Date;
  readonly report: unknown;
  readonly state: string;
  readonly problem: string | null;
}

/** Files whose import has ended: what became of them is noted, and they go into the archive with a report beside them. */
@Injectable()
export class FinishFiles {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    private readonly imports: Imports,
    private readonly sources: ResetSources,
  ) {}

  /** @returns sources whose next file may be taken */
  async finish(): Promise<string[]> {
    const { rows } = await this.database.pool.query<EndedFile>(
      `SELECT f.id, f.source_id, f.name, f.import_id, f.state, i.state AS import_state
         FROM reset_files f LEFT JOIN imports i ON i.id = f.import_id
        WHERE f.state = 'taken' AND (i.state IN ('done', 'refused', 'cancelled') OR i.id IS NULL AND f.taken_at < now() - interval '10 minutes')
        ORDER BY f.taken_at LIMIT 100`,
    );
    for (const file of rows) await this.end(file);
    await this.archive();
    await this.forgetOld();
    return [...new Set(rows.map((row) => row.source_id))];
  }

  /** The last one of each source stays: it tells what is older. */
  private async forgetOld(): Promise<void> {
    await this.database.pool.query(
      `DELETE FROM reset_files f WHERE f.id IN (
         SELECT o.id FROM reset_files o WHERE o.seen_at < now() - $1 * interval '1 day' AND o.state NOT IN ('seen', 'taken')
            AND EXISTS (SELECT FROM reset_files n WHERE n.source_id = o.source_id AND n.state = 'applied' AND n.taken_at > o.taken_at)
          ORDER BY o.seen_at LIMIT 1000)`,
      [KEPT_DAYS],
    );
  }

  private async end(file: EndedFile): Promise<void> {
    if (file.import_id === null || file.import_state === null) return this.watchAnew(file.id);
    const found = await this.imports.get(file.import_id);
    if (found.state === 'refused' && found.problem === brokenOffSentence) return this.watchAnew(file.id);
    const report = { ...shownImport(found), asOf: found.reset?.asOf ?? null, check: found.resetCheck };
    const state = found.state === 'done' ? 'applied' : found.state === 'cancelled' ? 'rejected' : 'refused';
    await this.database.pool.query(
      `UPDATE reset_files SET state = $2, problem = coalesce(problem, $3), report = $4, as_of = coalesce(as_of, $5), ended_at = now()
        WHERE id = $1 AND state = 'taken'`,
      [file.id, state, found.problem, JSON.stringify(report), found.resetCheck?.latest ?? null],
    );
  }

  /**
   * A process died while it took the file. One that lies in a folder is taken again, unless another one has come under its
   * name; one that was sent, and so was never watched before it was taken, has to be sent again.
   */
  private async watchAnew(id: string): Promise<void> {
    await this.database.pool.query(
      `UPDATE reset_files f
          SET state = CASE WHEN o.why IS NULL THEN 'seen' ELSE 'refused' END, seen_at = now(), import_id = NULL, problem = o.why,
              archived_as = CASE WHEN o.why IS NULL THEN NULL ELSE f.archived_as END, ended_at = CASE WHEN o.why IS NULL THEN NULL ELSE now() END
         FROM (SELECT CASE WHEN t.seen_at >= t.taken_at THEN $2
                           WHEN EXISTS (SELECT FROM reset_files n WHERE n.source_id = t.source_id AND n.name = t.name AND n.state = 'seen') THEN $3
                      END AS why FROM reset_files t WHERE t.id = $1) o
        WHERE f.id = $1 AND f.state = 'taken'`,
      [
        id,
        'The hub ended while it took the file; nothing of it is applied. Send it again.',
        'The hub ended while it took the file; nothing of it is applied. A newer one has come under its name since.',
      ],
    );
  }

  /** Every file that ended leaves the folder; where that fails it stays, is not read again, and says why. */
  private async archive(): Promise<void> {
    const { rows } = await this.database.pool.query<LeavingFile & { source_id: string }>(
      `SELECT f.id, f.source_id, f.name, f.size::float8 AS size, f.modified_at, f.report, f.state, f.problem FROM reset_files f
         JOIN reset_sources s ON s.source_id = f.source_id AND NOT s.removed
        WHERE f.state NOT IN ('seen', 'taken') AND f.archived_as IS NULL AND f.archive_tries < $1 AND f.by <> ''
          AND s.settings->>'archive' = 'source' AND s.settings->'from'->>'kind' <> 'upload'
        ORDER BY f.ended_at LIMIT 100`,
      [ARCHIVE_TRIES_MAX],
    );
    for (const sourceId of new Set(rows.map((row) => row.source_id)))
      await this.archiveOf(
        sourceId,
        rows.filter((row) => row.source_id === sourceId),
      );
  }

  private async archiveOf(sourceId: string, files: readonly LeavingFile[]): Promise<void> {
    const source = await this.sources.find(sourceId);
    if (source === null) return;
    const failed = (ids: string[], error: unknown) => {
      if (!(error instanceof FilePlaceError)) throw error;
      return this.database.pool.query(
        `UPDATE reset_files SET archive_tries = archive_tries + 1, report = coalesce(report, '{}') || jsonb_build_object('notArchived', $2::text)
          WHERE id = ANY($1)`,
        [ids, error.message],
      );
    };
    const place = await this.sources.open(source).catch(async (error: unknown) => {
      await failed(
        files.map(({ id }) => id),
        error,
      );
      return null;
    });
    if (place === null) return;
    try {
      for (const { id, name, size, modified_at, report, state, problem } of files) {
        const as = archiveName(name, id);
        try {
          // A newer file may have come under the same name since: that one has not been read.
          const there = await place.stat(name);
          if (there?.size === size && there.modifiedAt.getTime() === modified_at.getTime())
            await place.archive(name, as);
          reached('reset:file-archived');
          await place.leave(
            `${as}.report.json`,
            `${JSON.stringify({ file: name, state, problem, import: report }, null, 2)}\n`,
          );
          await this.database.pool.query('UPDATE reset_files SET archived_as = $2 WHERE id = $1', [id, as]);
        } catch (error) {
          await failed([id], error);
        }
      }
    } finally {
      await place.close();
    }
  }
}
