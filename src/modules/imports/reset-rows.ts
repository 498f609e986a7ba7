/**
 * Rows of a reset file, in the columns of HotWax Commerce: facilityId, locationSeqId, idType, idValue, availableQty. Names in
 * any case and order, with `_` or without; columns that mean nothing here are passed over, as HotWax does.
 */
import { DateTime } from 'luxon';
import { refuseTime } from '../../events/decision.js';
import { barcodeSpellings, idTypeOf, type IdType } from '../point-of-sale/id-types.js';
import { storable, type CsvRecord } from './csv-reader.js';
import { ImportProblem } from './import-problem.js';
import type { NewRow } from './receive-import.js';
import type { ResetPlan } from './reset-plan.js';

export interface ResetFields {
  readonly sku?: string;
  readonly location: string;
  readonly quantity: number;
  readonly asOf: string;
  /** The place within the file: rows of several shelves are added up, rows of one contradict each other. */
  readonly seat: string;
  readonly idType: IdType;
  readonly idValue: string;
  readonly spellings?: readonly string[];
}

type Field = 'facilityId' | 'externalFacilityId' | 'locationSeqId' | 'idType' | 'idValue' | 'availableQty' | 'moment';

const columnNames: Readonly<Record<string, Field>> = {
  facilityid: 'facilityId',
  externalfacilityid: 'externalFacilityId',
  locationseqid: 'locationSeqId',
  idtype: 'idType',
  idvalue: 'idValue',
  availableqty: 'availableQty',
  availablequantity: 'availableQty',
};

const plain = (name: string) => name.toLowerCase().replace(/[\s_-]/g, '');

/**
 * @returns reads one row after the other
 * @throws ImportProblem where a column that is needed is missing or there twice
 */
export function resetReader(header: readonly string[], plan: ResetPlan): (record: CsvRecord, now: string) => NewRow {
  const moment = plan.momentColumn === null ? null : plain(plan.momentColumn);
  const fields = header.map((name): Field | null =>
    plain(name) === moment ? 'moment' : (columnNames[plain(name)] ?? null),
  );
  const doubled = fields.filter((field, at) => field !== null && fields.indexOf(field) !== at);
  const missing = [
    ...(fields.includes('facilityId') || fields.includes('externalFacilityId') ? [] : ['facilityId']),
    ...(['idValue', 'availableQty'] as const).filter((field) => !fields.includes(field)),
    ...(moment === null || fields.includes('moment') ? [] : [plan.momentColumn]),
  ];
  if (doubled.length > 0 || missing.length > 0) {
    const said = [
      ...doubled.map((field) => `"${field}" is there twice`),
      ...missing.map((name) => `"${name}" is missing`),
    ];
    throw new ImportProblem(
      `The first row must name the columns: ${said.join('; ')}. A reset has facilityId, locationSeqId, idType, idValue, availableQty.`,
    );
  }
  const moments = momentReader(plan);
  return (record, now) => readRow(record, fields, plan, (cell) => moments(cell, now));
}

class BadCell extends Error {
  constructor(
    readonly column: string,
    detail: string,
  ) {
    super(detail);
  }
}

function readRow(
  { row, cells }: CsvRecord,
  fields: readonly (Field | null)[],
  plan: ResetPlan,
  momentOf: (cell: string) => string,
): NewRow {
  const staged: NewRow = { row, command_row: row, cells: cells.map(storable) };
  // What item and place a wrong row speaks of is kept where it can be told: it is not absent from the file.
  let named: Pick<NewRow, 'sku' | 'location' | 'identity'> = {};
  try {
    if (cells.length !== fields.length)
      throw new BadCell('', `the row has ${cells.length} cells and the header ${fields.length}`);
    const cell = (field: Field) => {
      const at = fields.indexOf(field);
      return at === -1 ? '' : cells[at]!;
    };
    const facility = cell('facilityId') || cell('externalFacilityId');
    const { idType, idValue, location } = nameOf(facility, cell('idType'), cell('idValue'), plan);
    const sku = idType === 'sku' ? idValue : undefined;
    named = { location, identity: `${location}/${sku ?? `${idType}:${idValue}`}`, ...(sku !== undefined && { sku }) };
    const read: ResetFields = {
      ...(sku !== undefined && { sku }),
      location,
      quantity: quantityOf(cell('availableQty')),
      asOf: momentOf(cell('moment')),
      seat: `${facility} ${cell('locationSeqId')}`,
      idType,
      idValue,
      ...(idType === 'barcode' && { spellings: barcodeSpellings(idValue).map((code) => code.toLowerCase()) }),
    };
    // Two rows say the same when these are the same bytes; short as they are, they need no digest.
    const said = Buffer.from(`${read.quantity} ${read.asOf} ${read.seat}`).toString('hex');
    return { ...staged, ...named, fields: { ...read }, hash: `\\x${said}` };
  } catch (error) {
    if (!(error instanceof BadCell)) throw error;
    return { ...staged, ...named, outcome: 'refused', problem_column: error.column, detail: error.message };
  }
}

function nameOf(facility: string, type: string, idValue: string, plan: ResetPlan) {
  if (facility === '') throw new BadCell('facilityId', 'must not be empty');
  const location = plan.places[facility];
  if (location === undefined)
    throw new BadCell(
      'facilityId',
      `There is no location "${short(facility)}"; map it at the source, or give a location this code`,
    );
  const idType = idTypeOf(type || plan.idType);
  if (idType === null) throw new BadCell('idType', `must be SKU, UPCA or Shopify_Prod_ID, not "${short(type)}"`);
  if (idValue === '' || idValue.length > 255) throw new BadCell('idValue', 'must have 1 to 255 characters');
  if (/[\p{Cc}\p{Cs}]/u.test(idValue)) throw new BadCell('idValue', 'must be printable text');
  return { idType, idValue, location };
}

/** Programs write whole numbers as 12.0, too. */
function quantityOf(cell: string): number {
  if (!/^[+-]?\d{1,10}([.,]0*)?$/.test(cell) || Math.abs(Number.parseInt(cell, 10)) > 1_000_000_000)
    throw new BadCell('availableQty', `must be a whole number such as 5, not "${short(cell)}"`);
  return Number.parseInt(cell, 10) + 0;
}

/** Most rows of a file tell the very moment that the row before told, and reading one costs as much as the rest of a row. */
function momentReader({ asOf, momentColumn, timeZone }: ResetPlan): (cell: string, now: string) => string {
  if (asOf !== null) return () => asOf;
  const column = momentColumn ?? 'asOf';
  let last: { readonly cell: string; readonly read: string } | null = null;
  return (cell, now) => {
    if (last?.cell === cell) return last.read;
    const read = localTime(cell, timeZone);
    if (read === null) throw new BadCell(column, `must be a time such as 2026-03-01 04:00:00, not "${short(cell)}"`);
    const refused = refuseTime(read, now, column);
    if (refused) throw new BadCell(column, refused.refusal.detail);
    last = { cell, read };
    return read;
  };
}

/**
 * A time as people and programs write it; without an offset it is the time zone's. Of an hour that comes twice the first
 * one is meant: a moment too early counts a sale twice until the next file, one too late sells a piece twice.
 * @returns ISO 8601 in UTC, or null
 */
export function localTime(text: string, zone: string): string | null {
  const time = DateTime.fromISO(text.trim().replace(/^(\d{4}-\d{2}-\d{2}) +/, '$1T'), { zone });
  if (!time.isValid || text.trim().length < 10) return null;
  const earliest = time
    .getPossibleOffsets()
    .reduce((first, next) => (next.toMillis() < first.toMillis() ? next : first));
  const offset = /(Z|[+-]\d{2}:?\d{2})$/i.test(text.trim());
  return (offset ? time : earliest).toUTC().toISO();
}

const short = (cell: string) => (cell.length > 40 ? `${cell.slice(0, 40)}…` : cell);
