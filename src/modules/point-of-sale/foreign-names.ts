import { Inject, Injectable } from '@nestjs/common';
import { arrayContains, eq, inArray, or, sql } from 'drizzle-orm';
import type { Database } from '../../database.js';
import { items } from '../../projections/items.table.js';
import { locations } from '../../projections/projections.table.js';
import { CommandRunner } from '../http/command-runner.js';
import { Problem } from '../http/problem.js';
import { DATABASE } from '../tokens.js';
import { barcodeSpellings, type IdType } from './id-types.js';

/** What other programs call our places and items. One word that means two things is refused: nobody may choose. */
@Injectable()
export class ForeignNames {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    private readonly commands: CommandRunner,
  ) {}

  /**
   * The location a facility means: its own code, else one of its other codes.
   * @throws Problem
   */
  async location(facilityId: string): Promise<string> {
    const found = await this.commands.found(async () => {
      const rows = await this.database.orm
        .select({ location: locations.location })
        .from(locations)
        .where(or(eq(locations.location, facilityId), arrayContains(locations.otherCodes, [facilityId])))
        .orderBy(locations.location)
        .limit(3);
      if (rows.length === 0) return null;
      return rows.some((row) => row.location === facilityId) ? [facilityId] : rows.map((row) => row.location);
    });
    if (found?.length === 1) return found[0]!;
    const detail =
      found === null
        ? `There is no location "${facilityId}". Add it, or say which one it is: PATCH /v1/locations/<code> {"otherCodes":["${facilityId}"]}.`
        : `"${facilityId}" means ${found.join(' and ')}; leave it to one of them.`;
    throw new Problem(found === null ? 'unknown-location' : 'not-allowed-now', detail, [
      { field: 'facilityId', detail },
    ]);
  }

  /**
   * The SKU that is meant.
   * @throws Problem
   */
  async sku(idType: IdType, idValue: string): Promise<string> {
    const found = await this.commands.found(async () => {
      const skus = await this.skusOf(idType, idValue);
      return skus.length === 0 ? null : skus;
    });
    if (found?.length === 1) return found[0]!;
    const detail =
      found === null
        ? `There is no item whose ${said[idType]} is "${idValue}".`
        : `${found.slice(0, 5).join(' and ')} have the ${said[idType]} "${idValue}"; send the SKU, or give each its own.`;
    throw new Problem(found === null ? 'unknown-item' : 'not-allowed-now', detail, [{ field: 'idValue', detail }]);
  }

  private async skusOf(idType: IdType, idValue: string): Promise<string[]> {
    if (idType === 'barcode') {
      const exact = await this.skusWhere(
        sql`${items.barcode} is not null and lower(${items.barcode}) = lower(${idValue})`,
      );
      if (exact.length > 0) return exact;
      const spellings = sql.join(
        barcodeSpellings(idValue).map((spelling) => sql`${spelling}`),
        sql`, `,
      );
      return this.skusWhere(sql`${items.barcode} is not null and lower(${items.barcode}) in (${spellings})`);
    }
    return this.skusWhere(idType === 'sku' ? inArray(items.sku, [idValue]) : eq(items.shopifyProductId, idValue));
  }

  private async skusWhere(where: ReturnType<typeof eq>): Promise<string[]> {
    const rows = await this.database.orm
      .select({ sku: items.sku })
      .from(items)
      .where(where)
      .orderBy(items.sku)
      .limit(6);
    return rows.map(({ sku }) => sku);
  }
}

const said: Readonly<Record<IdType, string>> = { sku: 'SKU', barcode: 'barcode', shopify: 'number at Shopify' };
