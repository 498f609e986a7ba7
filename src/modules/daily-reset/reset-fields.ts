import { IANAZone } from 'luxon';
import { z } from 'zod';
import type { ResetSourceSettings } from '../../events/facts.js';
import { anyText, location, name, otherCode, time } from '../http/fields.js';
import { momentOfName } from './file-moment.js';

export const resetSourceId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be small letters, digits and hyphens, at most 63')
  .describe('Id of a reset source');

const folder = anyText(1_000).min(1, 'must not be empty');
const from = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('upload') }),
  z.strictObject({ kind: z.literal('folder'), folder: folder.describe('Below the folder that the hub allows') }),
  z.strictObject({
    kind: z.literal('sftp'),
    host: z
      .string()
      .regex(/^[A-Za-z0-9.:[\]_-]{1,253}$/, 'must be a host name or an address')
      .describe('Host name or address'),
    port: z.int().min(1).max(65_535).default(22),
    username: anyText(200).min(1, 'must not be empty'),
    folder,
    hostKey: z
      .string()
      .regex(/^SHA256:[A-Za-z0-9+/]{43}$/, 'must look like SHA256:… as ssh-keygen -l shows it')
      .nullable()
      .default(null)
      .describe('Fingerprint of the server’s key, confirmed by you; null: ask for it with a test'),
  }),
]);
const schedule = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('daily'),
    at: z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'must be a time of day such as 04:00'),
    lateMinutes: z.int().min(0).max(1_200).default(180).describe('How long a late file is waited for'),
  }),
  z.strictObject({ kind: z.literal('every'), minutes: z.int().min(1, 'must be 1 or more').max(1_440) }),
  z.strictObject({ kind: z.literal('by-hand') }),
]);
const moment = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('file-time'),
    minutesBefore: z.int().min(0).max(1_440).default(0).describe('How long writing the file takes at most'),
  }),
  z.strictObject({
    kind: z.literal('name'),
    pattern: anyText(200).refine(
      (pattern) =>
        momentOfName(
          pattern,
          pattern.replace(/\{([^}]*)\}/g, (_all, format: string) => sampleOf(format)).replaceAll('*', ''),
          'UTC',
        ) !== null,
      'must hold the moment in braces, such as stock-{yyyyMMdd}-{HHmm}.csv',
    ),
  }),
  z.strictObject({ kind: z.literal('column'), column: anyText(100).min(1, 'must not be empty') }),
]);

/** 2026-03-01 04:05:06 in a format of digits, to try a pattern with. */
function sampleOf(format: string): string {
  const values: Readonly<Record<string, string>> = { yyyy: '2026', MM: '03', dd: '01', HH: '04', mm: '05', ss: '06' };
  return format.replace(/yyyy|MM|dd|HH|mm|ss/g, (token) => values[token] ?? token);
}

const fields = {
  name,
  on: z.boolean(),
  from,
  files: anyText(200).min(1, 'must not be empty').describe('Which files of the folder: a name with * and ?'),
  schedule,
  timeZone: z
    .string()
    .refine((zone) => zone.length <= 100 && IANAZone.isValidZone(zone), 'must be a time zone such as Europe/Berlin'),
  moment,
  settleSeconds: z.int().min(0).max(3_600),
  complete: z.boolean().describe('Whether a file holds every item of its places'),
  absent: z.enum(['leave', 'zero'], 'must be leave or zero'),
  zeroInactive: z.boolean().describe('Whether inactive items that are absent are set to 0 as well'),
  includesOrders: z
    .enum(['none', 'shipped', 'all'], 'must be none, shipped or all')
    .describe('Which orders the numbers know of, have taken away already'),
  ordersSince: time.describe('Of none: since when orders are not in the numbers'),
  locations: z
    .record(otherCode, location)
    .refine((map) => Object.keys(map).length <= 1_000, 'must have at most 1000 entries'),
  idType: z.enum(['SKU', 'UPCA', 'Shopify_Prod_ID'], 'must be SKU, UPCA or Shopify_Prod_ID'),
  onError: z.enum(['stop', 'skip'], 'must be stop or skip'),
  lastLine: z.enum(['must-end', 'may-be-open'], 'must be must-end or may-be-open'),
  holdAbovePercent: z.int().min(0).max(100),
  archive: z.enum(['source', 'hub'], 'must be source or hub'),
};

export const secret = z
  .strictObject({
    password: anyText(1_000).optional(),
    privateKey: z.string().max(20_000, 'must have at most 20000 characters').optional(),
    passphrase: anyText(1_000).optional(),
  })
  .describe('What the SFTP login needs; it can never be read back');

export const newResetSource = z.strictObject({
  id: resetSourceId,
  name: fields.name.optional(),
  on: fields.on.default(true),
  from: fields.from.default({ kind: 'upload' }),
  files: fields.files.default('*.csv'),
  schedule: fields.schedule.default({ kind: 'daily', at: '04:00', lateMinutes: 180 }),
  timeZone: fields.timeZone.default(() => Intl.DateTimeFormat().resolvedOptions().timeZone),
  moment: fields.moment.default({ kind: 'file-time', minutesBefore: 0 }),
  settleSeconds: fields.settleSeconds.default(10),
  complete: fields.complete.default(false),
  absent: fields.absent.default('leave'),
  zeroInactive: fields.zeroInactive.default(false),
  includesOrders: fields.includesOrders,
  ordersSince: fields.ordersSince.optional(),
  locations: fields.locations.default({}),
  idType: fields.idType.default('SKU'),
  onError: fields.onError.default('skip'),
  lastLine: fields.lastLine.default('must-end'),
  holdAbovePercent: fields.holdAbovePercent.default(20),
  archive: fields.archive.default('source'),
  secret: secret.optional(),
});

export const resetSourceChange = z
  .strictObject({ ...fields, secret })
  .partial()
  .refine((change) => Object.values(change).some((value) => value !== undefined), {
    message: 'must name at least one field to change',
  });

/** @returns what does not fit together, with the field to mend; null: it fits */
export function misfit(settings: ResetSourceSettings): { field: string; detail: string } | null {
  if (settings.absent === 'zero' && !settings.complete)
    return { field: 'absent', detail: 'may be zero only where files are complete: complete=true' };
  return null;
}
