import path from 'node:path';
import ipaddr from 'ipaddr.js';
import { z } from 'zod';

/**
 * The only reader of environment variables. Everything else receives the frozen {@link Config}.
 * `.env.example` describes the same variables for operators; keep the two in step.
 */

export const ROLES = ['api', 'projector', 'worker'] as const;
export type Role = (typeof ROLES)[number];

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface Config {
  /** Undefined: an embedded PostgreSQL is started in the data directory. */
  readonly databaseUrl: string | undefined;
  /** Undefined: lanes use BullMQ's PostgreSQL backend. */
  readonly redisUrl: string | undefined;
  readonly roles: readonly Role[];
  readonly host: string;
  /** 0 means: any free port. */
  readonly port: number;
  /** Absolute. */
  readonly dataDir: string;
  /** Absolute: files of daily resets are read from folders below it only. */
  readonly resetFolders: string;
  /** 32 bytes. Undefined only with the embedded PostgreSQL; the start then keeps one in the data directory. */
  readonly encryptionKey: Buffer | undefined;
  /** Read with, never written with: while the key is changed. */
  readonly previousEncryptionKeys: readonly Buffer[];
  readonly allowPrivateCartUrls: boolean;
  readonly databasePoolMax: number;
  /** How many PostgreSQL-backed lanes one process may open; each holds connections. Without meaning when Redis is set. */
  readonly lanesMax: number;
  readonly logLevel: LogLevel;
  readonly logJson: boolean;
  /** How others reach this hub, without a trailing slash. Undefined: derived from host and port. */
  readonly baseUrl: string | undefined;
  readonly shutdownTimeoutMs: number;
  /** In which the body of a call has to arrive; imported files may take longer. */
  readonly bodyTimeoutMs: number;
  /** Calls that are let in: of one API key, of one address without a valid key, wrong keys and webhooks of one address. */
  readonly perMinute: {
    readonly apiKey: number;
    readonly address: number;
    readonly wrongKey: number;
    readonly webhook: number;
  };
  /** Addresses and ranges whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly string[];
  /** An owner API key known beforehand. Undefined: the first start makes one and prints it once. */
  readonly ownerKey: string | undefined;
}

/** Thrown by {@link loadConfig}; its message lists every wrong variable, each with what to do about it. No value is repeated. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  constructor(readonly problems: readonly string[]) {
    super(
      `The configuration has ${problems.length === 1 ? 'a problem' : 'problems'}:\n${problems.map((p) => `  - ${p}`).join('\n')}`,
    );
  }
}

/**
 * Reads the settings. Pure: the same variables and directory give the same answer, nothing is touched.
 * An empty variable counts as not set, so `REDIS_URL=` in a compose file means "no Redis".
 * @throws ConfigError naming every wrong variable and its remedy
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>>, cwd: string = process.cwd()): Config {
  const present = Object.fromEntries(
    Object.entries(env)
      .map(([name, value]) => [name, value?.trim()] as const)
      .filter(([name, value]) => name in environment.shape && value !== undefined && value !== ''),
  );
  const parsed = environment.safeParse(present);
  const problems = parsed.success ? [] : parsed.error.issues.map((i) => `${String(i.path[0])}: ${i.message}`);
  if (present['DATABASE_URL'] !== undefined && present['ONHAND_ENCRYPTION_KEY'] === undefined) {
    problems.push(
      `ONHAND_ENCRYPTION_KEY: is required together with DATABASE_URL, because carts' passwords are encrypted with it and every process needs the same one. ${MAKE_A_KEY}`,
    );
  }
  problems.push(...unknownVariables(env));
  if (!parsed.success || problems.length > 0) throw new ConfigError(problems);

  const e = parsed.data;
  return Object.freeze({
    databaseUrl: e.DATABASE_URL,
    redisUrl: e.REDIS_URL,
    roles: Object.freeze(e.ONHAND_ROLES),
    host: e.ONHAND_HOST,
    port: e.ONHAND_PORT,
    dataDir: path.resolve(cwd, e.ONHAND_DATA_DIR),
    resetFolders: path.resolve(cwd, e.ONHAND_RESET_FOLDERS ?? path.join(e.ONHAND_DATA_DIR, 'reset-files')),
    encryptionKey: e.ONHAND_ENCRYPTION_KEY,
    previousEncryptionKeys: Object.freeze(e.ONHAND_PREVIOUS_ENCRYPTION_KEYS),
    allowPrivateCartUrls: e.ONHAND_ALLOW_PRIVATE_CART_URLS,
    databasePoolMax: e.ONHAND_DATABASE_POOL_MAX,
    lanesMax: e.ONHAND_LANES_MAX,
    logLevel: e.ONHAND_LOG_LEVEL,
    logJson: e.ONHAND_LOG_JSON,
    baseUrl: e.ONHAND_BASE_URL,
    shutdownTimeoutMs: e.ONHAND_SHUTDOWN_TIMEOUT_MS,
    bodyTimeoutMs: e.ONHAND_BODY_TIMEOUT_MS,
    perMinute: Object.freeze({
      apiKey: e.ONHAND_CALLS_PER_MINUTE,
      address: e.ONHAND_CALLS_WITHOUT_KEY_PER_MINUTE,
      wrongKey: e.ONHAND_WRONG_KEYS_PER_MINUTE,
      webhook: e.ONHAND_WEBHOOKS_PER_MINUTE,
    }),
    trustedProxies: Object.freeze(e.ONHAND_TRUSTED_PROXIES),
    ownerKey: e.ONHAND_OWNER_KEY,
  });
}

const MAKE_A_KEY = 'Make one with: openssl rand -base64 32';

function url(protocols: readonly string[], example: string) {
  return z
    .string()
    .refine(
      (text) => URL.canParse(text) && protocols.includes(new URL(text).protocol),
      `must be a URL such as ${example}`,
    );
}

function wholeNumber(min: number, max: number, unit: string) {
  const message = `must be a whole number of ${unit} from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,9}$/, message)
    .transform(Number)
    .refine((value) => value >= min && value <= max, message);
}

const yesOrNo = z
  .string()
  .toLowerCase()
  .refine((text) => ['true', 'false', '1', '0', 'yes', 'no'].includes(text), 'must be true or false')
  .transform((text) => ['true', '1', 'yes'].includes(text));

const list = z.string().transform((text) => [
  ...new Set(
    text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== ''),
  ),
]);

const roles = list.pipe(
  z
    .array(z.enum(ROLES, `must be a list of ${ROLES.join(', ')}, separated by commas`))
    .min(1, 'must name at least one role'),
);

const encryptionKey = z
  .string()
  .refine((text) => /^[A-Za-z0-9+/]{43}=$/.test(text), `must be 32 bytes in base64. ${MAKE_A_KEY}`)
  .transform((text) => Buffer.from(text, 'base64'));

const proxies = list.pipe(
  z.array(
    z
      .string()
      .refine(
        (text) => ipaddr.isValid(text) || ipaddr.isValidCIDR(text),
        'must be addresses or ranges such as 127.0.0.1 or 10.0.0.0/8, separated by commas',
      ),
  ),
);

const previousKeys = list.pipe(z.array(encryptionKey));

const perMinute = wholeNumber(1, 100_000_000, 'calls');

const environment = z.object({
  DATABASE_URL: url(['postgres:', 'postgresql:'], 'postgresql://user:password@host:5432/onhand').optional(),
  REDIS_URL: url(['redis:', 'rediss:'], 'redis://host:6379').optional(),
  ONHAND_ROLES: roles.default([...ROLES]),
  ONHAND_HOST: z.string().default('127.0.0.1'),
  ONHAND_PORT: wholeNumber(0, 65_535, 'a TCP port').default(3000),
  ONHAND_DATA_DIR: z.string().default('.onhand'),
  ONHAND_RESET_FOLDERS: z.string().optional(),
  ONHAND_ENCRYPTION_KEY: encryptionKey.optional(),
  ONHAND_PREVIOUS_ENCRYPTION_KEYS: previousKeys.default([]),
  ONHAND_ALLOW_PRIVATE_CART_URLS: yesOrNo.default(false),
  ONHAND_DATABASE_POOL_MAX: wholeNumber(2, 500, 'connections').default(20),
  ONHAND_LANES_MAX: wholeNumber(1, 500, 'lanes').default(48),
  ONHAND_LOG_LEVEL: z.enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(', ')}`).default('info'),
  ONHAND_LOG_JSON: yesOrNo.default(false),
  ONHAND_BASE_URL: url(['http:', 'https:'], 'https://stock.example.com')
    .transform((text) => text.replace(/\/+$/, ''))
    .optional(),
  ONHAND_SHUTDOWN_TIMEOUT_MS: wholeNumber(1000, 600_000, 'milliseconds').default(30_000),
  ONHAND_BODY_TIMEOUT_MS: wholeNumber(100, 600_000, 'milliseconds').default(60_000),
  ONHAND_CALLS_PER_MINUTE: perMinute.default(120_000),
  ONHAND_CALLS_WITHOUT_KEY_PER_MINUTE: perMinute.default(3_000),
  ONHAND_WRONG_KEYS_PER_MINUTE: perMinute.default(20),
  ONHAND_WEBHOOKS_PER_MINUTE: perMinute.default(12_000),
  ONHAND_TRUSTED_PROXIES: proxies.default([]),
  ONHAND_OWNER_KEY: z.string().min(24, 'must have at least 24 characters, because it opens everything').optional(),
});

/** Every variable that {@link loadConfig} reads. */
export const settingNames: readonly string[] = Object.freeze(Object.keys(environment.shape));

/** Variables that look like ours but are not: a misspelt setting must not be silently without effect. */
function unknownVariables(env: Readonly<Record<string, string | undefined>>): string[] {
  return Object.keys(env)
    .filter((name) => name.startsWith('ONHAND_') && !(name in environment.shape) && !FOR_OTHER_PROGRAMS.includes(name))
    .map((name) => `${name}: is not a setting of Onhand; look up its name in .env.example or remove it`);
}

/** Read by the command line client and by docker compose, which share the hub's environment. */
const FOR_OTHER_PROGRAMS = ['ONHAND_URL', 'ONHAND_API_KEY', 'ONHAND_PUBLISHED_PORT'];
