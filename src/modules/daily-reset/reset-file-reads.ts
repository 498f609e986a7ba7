import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Database } from '../../database.js';
import { decodeCursor, pageOf } from '../http/paging.js';
import { Problem } from '../http/problem.js';
import { shownImport } from '../imports/import-reads.js';
import { imports, type ImportState } from '../imports/imports.table.js';
import { DATABASE } from '../tokens.js';
import { resetFiles } from './reset-files.table.js';

type Row = { readonly file: typeof resetFiles.$inferSelect; readonly of: typeof imports.$inferSelect | null };

/** How reset files are shown: each with its import as it stands, or with its report when that is gone. */
@Injectable()
export class ResetFileReads {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  async list({
    source,
    cursor,
    limit,
  }: {
    readonly source?: string | undefined;
    readonly cursor?: string | undefined;
    readonly limit: number;
  }) {
    const before = decodeCursor(cursor, z.tuple([z.iso.datetime(), z.uuid()]));
    const rows = await this.rows()
      .where(
        and(
          source === undefined ? undefined : eq(resetFiles.sourceId, source),
          before === null
            ? undefined
            : sql`(${resetFiles.seenAt}, ${resetFiles.id}) < (${before[0]}::timestamptz, ${before[1]}::uuid)`,
        ),
      )
      .orderBy(desc(resetFiles.seenAt), desc(resetFiles.id))
      .limit(limit + 1);
    return pageOf(rows, limit, ({ file }) => [file.seenAt.toISOString(), file.id], shown);
  }

  /** @throws Problem */
  async get(id: string) {
    const [row] = await this.rows().where(eq(resetFiles.id, id));
    if (row === undefined)
      throw new Problem('unknown-reset-file', `There is no reset file ${id}; GET /v1/reset-files lists them.`);
    return shown(row);
  }

  /** The moment of the last file of the same source that was applied after all. */
  async appliedSince(id: string): Promise<string | null> {
    const { rows } = await this.database.pool.query<{ as_of: Date | null }>(
      `SELECT max(l.as_of) AS as_of
         FROM reset_files f
         LEFT JOIN imports fi ON fi.id = f.import_id
         JOIN reset_files l ON l.source_id = f.source_id AND l.id <> f.id
         LEFT JOIN imports li ON li.id = l.import_id
        WHERE f.id = $1 AND (l.state = 'applied' OR l.state = 'taken' AND li.state IN ('applying', 'done'))
          AND coalesce(l.as_of, (li.reset_check->>'latest')::timestamptz) > coalesce(f.as_of, (fi.reset_check->>'latest')::timestamptz)`,
      [id],
    );
    return rows[0]?.as_of?.toISOString() ?? null;
  }

  async noteRejected(id: string, problem: string): Promise<void> {
    await this.database.orm.update(resetFiles).set({ problem }).where(eq(resetFiles.id, id));
  }

  private rows() {
    return this.database.orm
      .select({ file: resetFiles, of: imports })
      .from(resetFiles)
      .leftJoin(imports, eq(imports.id, resetFiles.importId))
      .$dynamic();
  }
}

function shown({ file, of }: Row) {
  return {
    id: file.id,
    source: file.sourceId,
    name: file.name,
    size: file.size,
    modifiedAt: file.modifiedAt.toISOString(),
    /** While it is an import, that one's state; `held` where it waits for a person. */
    state: file.state === 'taken' && of !== null ? stateOf(of.state) : file.state,
    held: of?.state === 'ready' ? of.held : null,
    problem: file.problem ?? of?.problem ?? null,
    asOf: file.asOf?.toISOString() ?? of?.resetCheck?.latest ?? null,
    by: file.by === '' ? null : file.by,
    seenAt: file.seenAt.toISOString(),
    takenAt: file.takenAt?.toISOString() ?? null,
    endedAt: file.endedAt?.toISOString() ?? null,
    archivedAs: file.archivedAs,
    /** What it changes, or changed, as counted when it was checked. */
    check: of?.resetCheck ?? file.report?.['check'] ?? null,
    import: of === null ? (file.report ?? null) : shownImport(of),
  };
}

/** An import's state in the words of its file, which is noted as ended a moment later. */
function stateOf(state: ImportState): string {
  const words: Partial<Record<ImportState, string>> = { ready: 'held', done: 'applied', cancelled: 'rejected' };
  return words[state] ?? state;
}
