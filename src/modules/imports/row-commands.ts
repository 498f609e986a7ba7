/**
 * Staged rows → the commands they ask for. The same rows make the same commands, whenever and however often they are
 * made.
 */
import type { Command, CommandEnvelope } from '../../events/commands.js';
import { requestHash } from '../http/hashing.js';
import type { ImportKind } from './imports.table.js';
import type { ResetPlan } from './reset-plan.js';
import type { ResetFields } from './reset-rows.js';
import type { ComponentRow, CountRow, ItemRow, MappingRow, MovementRow, OrderRow } from './row-kinds.js';

export interface StagedRow {
  readonly row: number;
  readonly commandRow: number;
  readonly fields: unknown;
}

export interface ImportedFile {
  readonly id: string;
  readonly kind: ImportKind;
  readonly client: string;
  readonly by: string;
  readonly cartId: string | null;
  readonly reset: ResetPlan | null;
  /** When the upload began; what a file says without naming a moment was true then. */
  readonly createdAt: Date;
}

/** One command with the rows whose outcome it decides. */
export interface RowCommand {
  readonly rows: readonly StagedRow[];
  readonly envelope: CommandEnvelope;
}

export function rowCommands(file: ImportedFile, rows: readonly StagedRow[]): RowCommand[] {
  return groups(file.kind, rows).map((group) => ({ rows: group, envelope: envelopeOf(file, group) }));
}

/** A mapping is one fact about many listings; everything else is one command per row, order or kit. */
function groups(kind: ImportKind, rows: readonly StagedRow[]): StagedRow[][] {
  if (kind === 'mappings') return rows.length === 0 ? [] : [[...rows]];
  const found: StagedRow[][] = [];
  for (const row of rows) {
    const last = found.at(-1);
    if (last?.[0]?.commandRow === row.commandRow) last.push(row);
    else found.push([row]);
  }
  return found;
}

function envelopeOf(file: ImportedFile, group: readonly StagedRow[]): CommandEnvelope {
  const command = commandOf(file, group);
  const key = file.kind === 'movements' ? (group[0]!.fields as MovementRow).key : undefined;
  if (key !== undefined)
    return { client: file.client, idempotencyKey: key, bodyHash: keyedHash(group[0]!.fields as MovementRow), command };
  // Its place in the import is its key: how far that has come is noted in the transaction that appends it.
  return {
    client: 'import',
    idempotencyKey: null,
    bodyHash: null,
    command,
    cause: `import:${file.id}:${group[0]!.row}`,
  };
}

function commandOf(file: ImportedFile, group: readonly StagedRow[]): Command {
  const { fields } = group[0]!;
  switch (file.kind) {
    case 'movements':
      return movementCommand(fields as MovementRow);
    case 'counts': {
      const { asOf, ...count } = fields as CountRow;
      return { type: 'CountStock', ...count, asOf: asOf ?? file.createdAt.toISOString() };
    }
    case 'reset':
      return resetCommand(file.reset!, fields as ResetFields);
    case 'items':
      return { type: 'SaveItem', ...(fields as ItemRow) };
    case 'orders':
      return orderCommand(
        file,
        group.map((row) => row.fields as OrderRow),
      );
    case 'kits':
      return kitCommand(
        file,
        group.map((row) => row.fields as ComponentRow),
      );
    case 'mappings':
      return {
        type: 'MapListings',
        cartId: file.cartId ?? '',
        rows: group.map((row) => row.fields as MappingRow).map(({ key, sku }) => ({ key, sku })),
      };
  }
}

/** A row with a key counts once, whether it came in a file or at POST /v1/movements/batch: the hash is the same. */
export const keyedHash = (row: MovementRow) => requestHash('POST', '/v1/movements/batch', movementCommand(row));

function movementCommand(row: MovementRow): Command {
  const { sku, location, occurredAt, reason, reference, source } = row;
  const about = reference && {
    kind: reference.kind,
    number: reference.number,
    ...(reference.line !== undefined && { line: reference.line }),
  };
  const stock = { sku, location, occurredAt, reason, reference: about, source };
  switch (row.kind) {
    case 'received':
      return { type: 'ReceiveStock', ...stock, quantity: row.quantity };
    case 'sold':
      return { type: 'SellStock', ...stock, quantity: row.quantity };
    case 'returned':
      return { type: 'ReturnStock', ...stock, quantity: row.quantity, resellable: row.resellable };
    case 'adjusted':
      return { type: 'AdjustStock', ...stock, delta: row.delta };
  }
}

/** Of open orders a file that knows only of shipped ones still holds the pieces; one that knows of none holds all of theirs. */
function resetCommand(plan: ResetPlan, { sku, location, quantity, asOf }: ResetFields): Command {
  return {
    type: 'ResetStock',
    sku: sku!,
    location,
    quantity,
    asOf,
    includesOpenOrders: plan.includesOrders === 'shipped',
    knows: plan.knows,
    ...(plan.includesOrders === 'none' && { ordersSince: plan.ordersSince }),
    reference: { kind: 'file', number: plan.fileName },
    source: `file:${plan.sourceId}`,
  };
}

/** All of what the kit is made of, as at PUT /v1/kits/{sku}. */
const kitCommand = ({ by }: ImportedFile, rows: readonly ComponentRow[]): Command => ({
  type: 'SetKit',
  sku: rows[0]!.kit,
  components: rows.map(({ component: sku, quantity }) => ({ sku, quantity })),
  by,
});

/** As an order told at POST /v1/orders that no cart took, so nothing echoes. */
function orderCommand(file: ImportedFile, rows: readonly OrderRow[]): Command {
  const { origin, number, revision, placedAt, state } = rows[0]!;
  return {
    type: 'ImportOrder',
    source: origin,
    number,
    revision,
    placedAt,
    state,
    lines: rows.map(({ line, sku, location, quantity }) => ({ line, sku, key: sku, location, quantity })),
    sighting: { after: null, by: file.createdAt.toISOString() },
    cartMovesStock: { at: 'never', restocksOnCancel: false },
  };
}
