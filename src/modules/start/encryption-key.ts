import { randomBytes } from 'node:crypto';
import { link, open, readFile, rm } from 'node:fs/promises';
import path from 'node:path';

/**
 * The key that encrypts carts' secrets, kept in the data directory beside the embedded database: made once, readable by
 * its owner only. Where the database is elsewhere, the configuration has to name the key instead.
 * @throws Error when the file is not a key; a new one would make every stored secret unreadable
 */
export async function keepEncryptionKey(dataDir: string): Promise<Buffer> {
  const file = path.join(dataDir, 'encryption-key');
  const kept = await readKey(file);
  if (kept !== null) return kept;
  // Written whole under another name first: a crash must not leave half a key.
  const draft = `${file}.${process.pid}`;
  const handle = await open(draft, 'w', 0o600);
  try {
    await handle.writeFile(`${randomBytes(32).toString('base64')}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  // `link` refuses to replace a file, so of two processes that start at once both end up with the same key.
  await link(draft, file).catch((error: unknown) => {
    if (!isCode(error, 'EEXIST')) throw error;
  });
  await rm(draft, { force: true });
  return (await readKey(file))!;
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
