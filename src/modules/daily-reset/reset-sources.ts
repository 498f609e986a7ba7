import { Inject, Injectable } from '@nestjs/common';
import { and, eq, gt } from 'drizzle-orm';
import { z } from 'zod';
import { CartSecrets } from '../../cart-workers/cart-secrets.js';
import type { Config } from '../../config.js';
import type { Database } from '../../database.js';
import type { ResetSourceSettings } from '../../events/facts.js';
import { resetSources } from '../../projections/projections.table.js';
import { decodeCursor, pageOf } from '../http/paging.js';
import { CONFIG, DATABASE } from '../tokens.js';
import type { FilePlace } from './file-place.js';
import { FilePlaceError } from './file-place.js';
import { openFolder } from './folder-place.js';
import { resetLooks } from './reset-files.table.js';
import { openSftp, type SftpSecret } from './sftp-place.js';

const secretShape = z.object({
  password: z.string().optional(),
  privateKey: z.string().optional(),
  passphrase: z.string().optional(),
});

/** Settings of reset sources as the projector has reached them, and the places they name. */
@Injectable()
export class ResetSources {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    @Inject(CONFIG) private readonly config: Config,
    private readonly secrets: CartSecrets,
  ) {}

  /** @returns null where there is none, or none any more */
  async find(sourceId: string): Promise<ResetSourceSettings | null> {
    const [row] = await this.database.orm
      .select({ settings: resetSources.settings })
      .from(resetSources)
      .where(and(eq(resetSources.sourceId, sourceId), eq(resetSources.removed, false)));
    return row?.settings ?? null;
  }

  async all(): Promise<ResetSourceSettings[]> {
    const rows = await this.database.orm
      .select({ settings: resetSources.settings })
      .from(resetSources)
      .where(eq(resetSources.removed, false))
      .orderBy(resetSources.sourceId);
    return rows.map(({ settings }) => settings);
  }

  /** With how looking for files goes. */
  async list({ cursor, limit }: { readonly cursor?: string | undefined; readonly limit: number }) {
    const after = decodeCursor(cursor, z.tuple([z.string()]));
    const rows = await this.shownWhere(after === null ? undefined : gt(resetSources.sourceId, after[0]), limit + 1);
    return pageOf(
      rows,
      limit,
      (row) => [row.id],
      (row) => row,
    );
  }

  async shown(sourceId: string) {
    const [row] = await this.shownWhere(eq(resetSources.sourceId, sourceId), 1);
    return row ?? null;
  }

  private async shownWhere(where: ReturnType<typeof gt> | undefined, limit: number) {
    const rows = await this.database.orm
      .select({ settings: resetSources.settings, version: resetSources.version, looks: resetLooks })
      .from(resetSources)
      .leftJoin(resetLooks, eq(resetLooks.sourceId, resetSources.sourceId))
      .where(and(eq(resetSources.removed, false), where))
      .orderBy(resetSources.sourceId)
      .limit(limit);
    return rows.map(({ settings: { sourceId, ...settings }, version, looks }) => ({
      id: sourceId,
      ...settings,
      version: String(version),
      lookedAt: looks?.lookedAt?.toISOString() ?? null,
      /** Why the last look found nothing to read, or failed. */
      problem: looks?.problem ?? null,
      waitingSince: looks?.expectedSince?.toISOString() ?? null,
    }));
  }

  async putSecret(sourceId: string, secret: SftpSecret): Promise<void> {
    await this.secrets.put(secretName(sourceId), JSON.stringify(secret));
  }

  /** @throws FilePlaceError */
  async open(source: ResetSourceSettings): Promise<FilePlace> {
    const { from, sourceId } = source;
    switch (from.kind) {
      case 'upload':
        throw new FilePlaceError('Files of this source are sent to the hub; there is no folder to look into.');
      case 'folder':
        return openFolder(this.config.resetFolders, from.folder);
      case 'sftp': {
        const stored = await this.secrets.get(secretName(sourceId));
        const secret = stored === '' ? {} : secretShape.parse(JSON.parse(stored));
        return openSftp({ ...from, secret, allowPrivateAddress: this.config.allowPrivateCartUrls });
      }
    }
  }
}

/** No cart's id has a colon. */
const secretName = (sourceId: string) => `reset-source:${sourceId}`;
