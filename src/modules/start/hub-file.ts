import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

export interface HubFile {
  readonly url: string;
  readonly pid: number;
}

/** Tells other processes of this machine (the CLI, the demo) where the hub is. Appears whole or not at all. */
export async function writeHubFile(dataDir: string, hub: HubFile): Promise<void> {
  const file = fileIn(dataDir);
  const draft = `${file}.${process.pid}`;
  await writeFile(draft, `${JSON.stringify(hub)}\n`);
  await rename(draft, file);
}

/** Removes it, unless another hub has put its own there meanwhile. */
export async function removeHubFile(dataDir: string): Promise<void> {
  const text = await readFile(fileIn(dataDir), 'utf8').catch(() => null);
  if (text === null) return;
  const pid = (JSON.parse(text) as Partial<HubFile>).pid;
  if (pid === process.pid) await rm(fileIn(dataDir), { force: true });
}

const fileIn = (dataDir: string) => path.join(dataDir, 'hub.json');
