import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, inArray, isNull, notInArray, or, sql } from 'drizzle-orm';
import type { Config } from '../../config.js';
import type { Database } from '../../database.js';
import { refuseTime } from '../../events/decision.js';
import type { ResetSourceSettings, Source } from '../../events/facts.js';
import { reached } from '../../moments.js';
import { Problem } from '../http/problem.js';
import { Imports } from '../imports/imports.js';
import { imports } from '../imports/imports.table.js';
import type { ResetPlan } from '../imports/reset-plan.js';
import { CONFIG, DATABASE } from '../tokens.js';
import { momentOfFile } from './file-moment.js';
import { archiveName } from './file-place.js';
import { resetFiles, type ResetFileState } from './reset-files.table.js';

export interface FetchedFile {
  readonly name: string;
  readonly size: number;
  readonly modifiedAt: Date;
  /** Whole, on this machine; whoever fetched it removes it. */
  readonly path: string;
  readonly charset?: string | undefined;
  /** As a person said it; left out: as the source says. */
  readonly asOf?: string | undefined;
  readonly preview: boolean;
  readonly by: string;
  /** To the hub: it lies in no folder that could be read again. */
  readonly sent: boolean;
}

/** A whole file on this machine → an import of its rows, or the reason why there is none. */
@Injectable()
export class TakeFile {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    @Inject(CONFIG) private readonly config: Config,
    private readonly imports: Imports,
  ) {}

  /** @returns the id of the file's row, in whatever state it is then; null: not now, the same content is being received */
  async take(source: ResetSourceSettings, file: FetchedFile): Promise<string | null> {
    const hash = await hashOf(file.path);
    const asOf = file.asOf ?? momentOfFile(source, file.name, file.modifiedAt);
    const before = await this.lastApplied(source.sourceId);
    const why = asOf === undefined || asOf === null ? null : whyNotNow(asOf, before.asOf);
    if (asOf === undefined) {
      const detail = `The name "${file.name}" does not tell the moment that the source's pattern looks for.`;
      return this.note(source, file, hash, { state: 'refused', problem: detail, asOf: null, importId: null });
    }
    const importId = randomUUID();
    const noted = { asOf, importId: why === null ? importId : null, problem: why?.problem ?? null };
    const id = await this.note(source, file, hash, { state: why?.state ?? 'taken', ...noted });
    if (id === null) return null;
    reached('reset:file-taken');
    await this.keep(source, file, id);
    if (why !== null) return id;
    const { rows } = await this.database.pool.query('SELECT FROM reset_files WHERE id = $1 AND import_id = $2', [
      id,
      importId,
    ]);
    // Its content was taken already.
    if (rows.length === 0) return id;
    await this.stage(source, file, importId, planOf(source, file, asOf, before, await this.world(source)));
    return id;
  }

  /** In a folder that is gone with the work. */
  async withTemporaryFile<T>(work: (file: string) => Promise<T>): Promise<T> {
    const dir = await mkdtemp(path.join(os.tmpdir(), 'onhand-reset-'));
    try {
      return await work(path.join(dir, 'file.csv'));
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  }

  /** Files whose source keeps no archive of its own are kept here, before anything comes of them. */
  private async keep({ sourceId, archive }: ResetSourceSettings, file: FetchedFile, id: string): Promise<void> {
    if (archive === 'source' && !file.sent) return;
    const dir = path.join(this.config.dataDir, 'reset-archive', sourceId);
    const as = path.join(dir, path.basename(archiveName(file.name, id)));
    await mkdir(dir, { recursive: true });
    await copyFile(file.path, as);
    await this.database.orm.update(resetFiles).set({ archivedAs: as }).where(eq(resetFiles.id, id));
  }

  private async stage(source: ResetSourceSettings, file: FetchedFile, importId: string, reset: ResetPlan) {
    const asked = { id: importId, reset, onError: source.onError, client: `reset:${source.sourceId}`, by: file.by };
    try {
      await this.imports.receiveReset(asked, createReadStream(file.path), file.charset);
    } catch (error) {
      // The import says what is wrong with the file, and whoever looks after ended imports tells it of the file.
      if (!(error instanceof Problem)) throw error;
    }
  }

  private async lastApplied(sourceId: string): Promise<LastApplied> {
    const { rows } = await this.database.pool.query<{ as_of: Date | null; rows: number | null }>(
      `WITH applied AS (
         SELECT coalesce(f.as_of, (i.reset_check->>'latest')::timestamptz) AS as_of, f.taken_at,
                i.received - coalesce((i.reset_check->>'absent')::integer, 0) AS rows
           FROM reset_files f LEFT JOIN imports i ON i.id = f.import_id
          WHERE f.source_id = $1 AND (f.state = 'applied' OR f.state = 'taken' AND i.state IN ('applying', 'done')))
       SELECT max(as_of) AS as_of, (SELECT rows FROM applied ORDER BY taken_at DESC LIMIT 1) AS rows FROM applied`,
      [sourceId],
    );
    return { asOf: rows[0]?.as_of?.toISOString() ?? null, rows: rows[0]?.rows ?? null };
  }

  private async world(source: ResetSourceSettings): Promise<World> {
    const [places, carts] = await Promise.all([
      this.database.pool.query<{ location: string; other_codes: string[] }>(
        'SELECT location, other_codes FROM locations ORDER BY location',
      ),
      this.database.pool.query<{ cart_id: string }>('SELECT cart_id FROM carts ORDER BY cart_id'),
    ]);
    const codes = places.rows.flatMap(({ location, other_codes }) =>
      other_codes.map((code) => [code, location] as const),
    );
    // A code that two places have means none.
    const clear = codes.filter(([code], at) => codes.every(([other], else_) => other !== code || else_ === at));
    return {
      carts: carts.rows.map((row) => row.cart_id),
      places: {
        ...Object.fromEntries(clear),
        ...Object.fromEntries(places.rows.map(({ location }) => [location, location])),
        ...source.locations,
      },
    };
  }

  /** The row of the file: the one that was watched, or a new one. The same content twice is told so. */
  private async note(
    source: ResetSourceSettings,
    { name, size, modifiedAt, by }: FetchedFile,
    hash: Buffer,
    noted: Noted,
  ): Promise<string | null> {
    const { sourceId } = source;
    return this.database.orm.transaction(async (tx) => {
      // Two that take the same content at the same moment must not both find that nobody has.
      await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`reset ${sourceId}`}, 0))`);
      const same = noted.state === 'taken' ? await sameContent(tx, source, hash, noted.asOf) : null;
      // Should that one break off, this one is needed.
      if (same !== null && !same.stored) return null;
      const row = same === null ? noted : repeated(same.name, noted.asOf);
      const values = {
        state: row.state,
        takenAt: sql`now()`,
        hash,
        asOf: row.asOf === null ? null : new Date(row.asOf),
        importId: row.importId,
        by,
        problem: row.problem,
        endedAt: row.state === 'taken' ? null : sql`now()`,
      };
      const [written] = await tx
        .insert(resetFiles)
        .values({ id: randomUUID(), sourceId, name, size, modifiedAt, ...values })
        .onConflictDoUpdate({
          target: [resetFiles.sourceId, resetFiles.name, resetFiles.size, resetFiles.modifiedAt],
          set: values,
          setWhere: eq(resetFiles.state, 'seen'),
        })
        .returning({ id: resetFiles.id });
      if (written === undefined) throw new Problem('not-allowed-now', 'This very file is being taken already.');
      return written.id;
    });
  }
}

/**
 * The same numbers as of the same moment. Where only the file's time tells the moment, a copy of the last file has another
 * time and says nothing new: taken for new it would put back what was sold since.
 */
async function sameContent(
  tx: Pick<Database['orm'], 'select'>,
  { sourceId, moment }: ResetSourceSettings,
  hash: Buffer,
  asOf: string | null,
): Promise<{ readonly name: string; readonly stored: boolean } | null> {
  // Refused, and not noted as such yet.
  const somethingCameOf = or(isNull(imports.state), notInArray(imports.state, ['refused', 'cancelled']));
  // What was applied is stored, also when its rows were removed since.
  const stored = sql<boolean>`${resetFiles.state} = 'applied' OR coalesce(${imports.state} <> 'receiving', false)`;
  const [last] = await tx
    .select({ name: resetFiles.name, hash: resetFiles.hash, stored })
    .from(resetFiles)
    .leftJoin(imports, eq(imports.id, resetFiles.importId))
    .where(and(eq(resetFiles.sourceId, sourceId), inArray(resetFiles.state, ['taken', 'applied']), somethingCameOf))
    .orderBy(desc(resetFiles.takenAt))
    .limit(1);
  if (moment.kind === 'file-time' && last?.hash?.equals(hash) === true) return last;
  const [same] = await tx
    .select({ name: resetFiles.name, stored })
    .from(resetFiles)
    .leftJoin(imports, eq(imports.id, resetFiles.importId))
    .where(
      and(
        eq(resetFiles.sourceId, sourceId),
        eq(resetFiles.hash, hash),
        inArray(resetFiles.state, ['taken', 'applied']),
        somethingCameOf,
        // A file that tells its moments in its rows has them in its content.
        asOf === null ? undefined : eq(resetFiles.asOf, new Date(asOf)),
      ),
    )
    .limit(1);
  return same ?? null;
}

interface LastApplied {
  readonly asOf: string | null;
  readonly rows: number | null;
}

interface World {
  readonly carts: readonly string[];
  readonly places: Readonly<Record<string, string>>;
}

interface Noted {
  readonly state: ResetFileState;
  readonly problem: string | null;
  readonly asOf: string | null;
  readonly importId: string | null;
}

const repeated = (name: string, asOf: string | null): Noted => ({
  state: 'repeated',
  problem: `Its content is that of "${name}", which was taken before; nothing was done.`,
  asOf,
  importId: null,
});

function whyNotNow(asOf: string, lastAsOf: string | null): { state: ResetFileState; problem: string } | null {
  const refused = refuseTime(asOf, new Date().toISOString(), 'The moment of the file');
  if (refused) return { state: 'refused', problem: refused.refusal.detail };
  if (lastAsOf === null || asOf >= lastAsOf) return null;
  return {
    state: 'older',
    problem: `It speaks of ${asOf}, and a file of ${lastAsOf} has been applied already; nothing was done.`,
  };
}

const orderSources: readonly Source[] = ['phone', 'store', 'marketplace'];

function planOf(
  source: ResetSourceSettings,
  file: FetchedFile,
  asOf: string | null,
  before: LastApplied,
  { carts, places }: World,
): ResetPlan {
  const { sourceId, complete, absent, zeroInactive, includesOrders, ordersSince, idType, lastLine, timeZone } = source;
  const orders: Source[] = [...carts.map((cart): Source => `cart:${cart}`), ...orderSources];
  return {
    sourceId,
    complete,
    absent,
    zeroInactive,
    includesOrders,
    ordersSince,
    idType,
    lastLine,
    timeZone,
    places,
    asOf,
    holdAbovePercent: source.holdAbovePercent,
    fileName: file.name.slice(0, FILE_NAME_MAX),
    momentColumn: source.moment.kind === 'column' ? source.moment.column : null,
    knows: includesOrders === 'none' ? ['direct'] : ['direct', ...orders],
    rowsBefore: before.rows,
    notBefore: before.asOf,
    preview: file.preview,
  };
}

/** As long as a reference's number may be. */
const FILE_NAME_MAX = 100;

async function hashOf(file: string): Promise<Buffer> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest();
}
