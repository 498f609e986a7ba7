import { Body, Controller, Get, Inject, Param, Put, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiTags } from '@nestjs/swagger';
import { and, eq, gt } from 'drizzle-orm';
import { z } from 'zod';
import { CartDirectory } from '../../cart-workers/cart-directory.js';
import { readQuantities, type DoubledKeys } from '../../cart-workers/read-cart.js';
import type { Database } from '../../database.js';
import { items } from '../../projections/items.table.js';
import { steadyNow } from '../../steady-clock.js';
import { Needs } from '../access/access.guard.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { CommandRunner } from '../http/command-runner.js';
import { cartId, itemKey, sku } from '../http/fields.js';
import { idempotencyHeader } from '../http/open-api.js';
import { pageFields } from '../http/paging.js';
import { DATABASE } from '../tokens.js';
import { CartReads } from './cart-reads.js';
import { unknownCart } from './carts.controller.js';

const mapping = z.union([
  z.strictObject({
    rows: z
      .array(z.strictObject({ key: itemKey, sku }))
      .min(1)
      .max(10_000),
  }),
  z.strictObject({ allItems: z.literal(true).describe('Every item, under its SKU as the cart’s key') }),
]);
const listQuery = z.strictObject(pageFields);

@ApiTags('Carts')
@ApiBearerAuth()
@Controller('v1/carts/:id/listings')
export class ListingsController {
  constructor(
    private readonly commands: CommandRunner,
    private readonly carts: CartReads,
    private readonly directory: CartDirectory,
    @Inject(DATABASE) private readonly database: Database,
  ) {}

  @Put()
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Map items to the cart’s own keys. What is not named stays as it is.' })
  async map(
    @Param('id', { schema: cartId }) id: string,
    @Body({ schema: mapping }) body: z.infer<typeof mapping>,
    @Asks() asking: Asking,
  ) {
    let mapped = 0;
    for await (const rows of 'rows' in body ? chunksOf(body.rows) : this.allItems()) {
      await this.commands.run(asking, { type: 'MapListings', cartId: id, rows }, `rows-${mapped}`);
      mapped += rows.length;
    }
    await this.commands.settle();
    return { cartId: id, mapped };
  }

  @Get()
  @ApiOperation({ summary: 'What the cart lists: target, expected, owed, and what it shows now' })
  async list(
    @Param('id', { schema: cartId }) id: string,
    @Query({ schema: listQuery }) query: z.infer<typeof listQuery>,
  ) {
    if (!(await this.carts.exists(id))) unknownCart(id);
    return this.carts.listings(id, query);
  }

  @Get(':key/shown')
  @Needs('operate')
  @ApiOperation({ summary: 'Ask the cart itself what it shows of one key now; it takes as long as the cart takes' })
  async shown(@Param('id', { schema: cartId }) id: string, @Param('key', { schema: itemKey }) key: string) {
    if (!(await this.carts.exists(id))) unknownCart(id);
    const cart = await this.directory.cart(id);
    const askedAt = new Date();
    const deadlineMs = steadyNow() + cart.connection.requestTimeoutMs;
    const doubled: DoubledKeys = new Map();
    const signal = AbortSignal.timeout(cart.connection.requestTimeoutMs);
    const read = await readQuantities(cart, [key], deadlineMs, signal, { doubled, toTheEnd: true });
    return {
      cartId: id,
      key,
      /** False: the cart does not know the key. Known and without a quantity: it does not track its stock. */
      listed: read.has(key),
      quantity: read.get(key) ?? null,
      /** What each of the products shows that share the key; then there is no one quantity. */
      doubled: doubled.get(key) ?? null,
      askedAt: askedAt.toISOString(),
      readAt: new Date().toISOString(),
    };
  }

  /** Every item the projector knows, page by page; the projector is given a moment to know the newest. */
  private async *allItems(): AsyncGenerator<{ key: string; sku: string }[]> {
    await this.commands.settle();
    for (let after = ''; ;) {
      const page = await this.database.orm
        .select({ key: items.sku, sku: items.sku })
        .from(items)
        .where(and(gt(items.sku, after), eq(items.active, true)))
        .orderBy(items.sku)
        .limit(ROWS_PER_COMMAND);
      if (page.length > 0) yield page;
      if (page.length < ROWS_PER_COMMAND) return;
      after = page.at(-1)!.sku;
    }
  }
}

/** One command is one transaction; a large mapping is several, so that none lasts long. Mapping again does nothing. */
const ROWS_PER_COMMAND = 1000;

function* chunksOf<T>(rows: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < rows.length; at += ROWS_PER_COMMAND) yield rows.slice(at, at + ROWS_PER_COMMAND);
}
