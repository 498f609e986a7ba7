import { spawnSync } from 'node:child_process';
import { chmod, rm, statfs, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { temporaryDirectory } from '../support/temporary-directory.js';

/** A file system of its own, in memory, which a test can fill. */
export interface SmallDisk {
  readonly folder: string;
  readonly fill: () => Promise<void>;
  readonly makeRoom: () => Promise<void>;
  readonly unmount: () => Promise<void>;
}

/** @returns null where it cannot be mounted; says so */
export async function mountSmallDisk(sizeMb: number): Promise<SmallDisk | null> {
  const folder = await mountedFolder(sizeMb);
  if (folder === null) {
    process.stderr.write(
      'NO SMALL DISK: mounting one needs root on Linux, so the tests with a full disk do not run. Run them as root once.\n',
    );
    return null;
  }
  const ballast = path.join(folder, 'ballast');
  return {
    folder,
    fill: async () => {
      const { bavail, bsize } = await statfs(folder);
      await writeFile(ballast, Buffer.alloc(bavail * bsize)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOSPC') throw error;
      });
    },
    makeRoom: () => rm(ballast),
    unmount: async () => {
      spawnSync('umount', ['--lazy', folder]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function mountedFolder(sizeMb: number): Promise<string | null> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return null;
  const folder = await temporaryDirectory('onhand-test-disk-');
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeMb}m`, 'tmpfs', folder]);
  if (status === 0) {
    await chmod(folder, 0o755);
    return folder;
  }
  await rm(folder, { recursive: true, force: true });
  return null;
}
