import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { CommandLineError, exitCodes, UsageError } from './exit-codes.js';
import { readText } from './prompt.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where the hub is, and how that is known: an answer that does not come is easier to mend then. */
export interface HubAddress {
  readonly url: string;
  /** "--url", "ONHAND_URL", the path of a hub.json, or "default". */
  readonly from: string;
  /** Where a hub that was started from here keeps its data. */
  readonly dataDir: string;
}

const DEFAULT_URL = 'http://127.0.0.1:3000';

/** `--url`, else ONHAND_URL, else what a hub on this machine wrote into its data directory, else the usual address. */
export async function findHub(option: string | undefined, env: Environment, cwd: string): Promise<HubAddress> {
  const dataDir = path.resolve(cwd, given(env['ONHAND_DATA_DIR']) ?? '.onhand');
  const named = option ?? given(env['ONHAND_URL']);
  if (named !== undefined) {
    const from = option === undefined ? 'ONHAND_URL' : '--url';
    return { url: checkedUrl(named, from), from, dataDir };
  }
  const file = path.join(dataDir, 'hub.json');
  const url = await urlIn(file);
  return url === null
    ? { url: DEFAULT_URL, from: 'default', dataDir }
    : { url: checkedUrl(url, file), from: file, dataDir };
}

/**
 * The API key: a file, the environment, or, with a warning, the command line, which every user of the machine can read.
 * @throws CommandLineError when there is none
 */
export async function findKey(
  options: { readonly apiKey?: string | undefined; readonly keyFile?: string | undefined },
  env: Environment,
  warn: (sentence: string) => void,
): Promise<string> {
  if (options.keyFile !== undefined) return checkedKey(await readText(options.keyFile, '--key-file'), options.keyFile);
  if (options.apiKey !== undefined) {
    warn(
      'Warning: a key on the command line is seen in the list of processes and in the shell’s history. Use --key-file or ONHAND_API_KEY.',
    );
    return checkedKey(options.apiKey, '--api-key');
  }
  const key = given(env['ONHAND_API_KEY']);
  if (key !== undefined) return checkedKey(key, 'ONHAND_API_KEY');
  throw new CommandLineError(
    exitCodes.notAuthorised,
    'An API key is needed: set ONHAND_API_KEY, or name a file that holds it with --key-file. The hub’s first start printed the owner’s key; `onhand keys create` makes others.',
  );
}

const given = (text: string | undefined) => (text === undefined || text.trim() === '' ? undefined : text.trim());

async function urlIn(file: string): Promise<string | null> {
  const text = await readFile(file, 'utf8').catch(() => null);
  if (text === null) return null;
  try {
    const { url } = JSON.parse(text) as { url?: unknown };
    return typeof url === 'string' ? url : null;
  } catch {
    return null;
  }
}

function checkedUrl(text: string, from: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !['http:', 'https:'].includes(url.protocol)) {
    throw new UsageError(`${from}: "${text}" is not the address of a hub; it looks like ${DEFAULT_URL}.`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new UsageError(
      `${from}: put no user or password into the address; the key has an option of its own (--key-file).`,
    );
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '');
}

/** A header may hold neither line ends nor anything beyond ASCII; better said here than by the HTTP client. */
function checkedKey(text: string, from: string): string {
  const key = text.trim();
  if (/^[\x21-\x7e]+$/.test(key)) return key;
  throw new UsageError(`${from}: this is not an API key; one begins with ohk_ and is a single word.`);
}
