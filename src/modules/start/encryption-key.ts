import { randomBytes } from 'node:crypto';
import { link, open, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import type { EncryptionKeys } from '../../cart-workers/cart-secrets.js';
import type { Config } from '../../config.js';

/**
 * The keys that encrypt carts' secrets: from the environment where it names one, else from the data directory.
 * @throws Error when a file is not a key
 */
export async function encryptionKeys(
  config: Pick<Config, 'dataDir' | 'encryptionKey' | 'previousEncryptionKeys'>,
): Promise<EncryptionKeys> {
  if (config.encryptionKey !== undefined)
    return { current: config.encryptionKey, previous: config.previousEncryptionKeys };
  const current = await keepEncryptionKey(config.dataDir);
  // There is one only between the beginning and the end of a change of the key.
  const before = await readKey(previousFileIn(config.dataDir));
  return { current, previous: [...(before === null ? [] : [before]), ...config.previousEncryptionKeys] };
}

/**
 * The key in the data directory, beside the embedded database: made once, readable by its owner only.
 * @throws Error when the file is not a key; a new one would make every stored secret unreadable
 */
async function keepEncryptionKey(dataDir: string): Promise<Buffer> {
  const file = fileIn(dataDir);
  const kept = await readKey(file);
  if (kept !== null) return kept;
  const draft = await writeDraft(file, randomBytes(32));
  // `link` refuses to replace a file, so of two processes that start at once both end up with the same key.
  await link(draft, file).catch((error: unknown) => {
    if (!isCode(error, 'EEXIST')) throw error;
  });
  await rm(draft, { force: true });
  return (await readKey(file))!;
}

/**
 * Puts a new key into the data directory, the old one beside it. A crash at any point leaves every secret readable: the
 * old key is on disk under its second name before the first name changes, and the first changes at once. Called again
 * before {@link endKeyChange}, it goes on with the same two.
 */
export async function beginKeyChange(dataDir: string): Promise<EncryptionKeys> {
  const current = await keepEncryptionKey(dataDir);
  const before = await readKey(previousFileIn(dataDir));
  if (before !== null && !before.equals(current)) return { current, previous: [before] };
  await replace(previousFileIn(dataDir), current);
  const next = randomBytes(32);
  await replace(fileIn(dataDir), next);
  return { current: next, previous: [current] };
}

/** Throws the old key away; call it when nothing is under it any more. */
export async function endKeyChange(dataDir: string): Promise<void> {
  await rm(previousFileIn(dataDir), { force: true });
}

const fileIn = (dataDir: string) => path.join(dataDir, 'encryption-key');
const previousFileIn = (dataDir: string) => `${fileIn(dataDir)}.previous`;

async function replace(file: string, key: Buffer): Promise<void> {
  await rename(await writeDraft(file, key), file);
  // The name itself has to be on disk, too, before the next step relies on it. Windows cannot, and needs no, sync here.
  if (process.platform === 'win32') return;
  const directory = await open(path.dirname(file), 'r');
  await directory.sync().finally(() => directory.close());
}

/** Written whole under another name first: a crash must not leave half a key. */
async function writeDraft(file: string, key: Buffer): Promise<string> {
  const draft = `${file}.${process.pid}`;
  const handle = await open(draft, 'w', 0o600);
  try {
    await handle.writeFile(`${key.toString('base64')}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  return draft;
}

async function readKey(file: string): Promise<Buffer | null> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (isCode(error, 'ENOENT')) return null;
    throw error;
  });
  if (text === null) return null;
  const key = Buffer.from(text.trim(), 'base64');
  if (key.length !== 32) {
    throw new Error(
      `${file} is not an encryption key (32 bytes in base64). Put the original file back; without it the carts' passwords cannot be read.`,
    );
  }
  return key;
}

const isCode = (error: unknown, code: string) => error instanceof Error && 'code' in error && error.code === code;
