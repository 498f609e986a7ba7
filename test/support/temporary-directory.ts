import { chmod, mkdtemp, realpath } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** Others may enter it (mkdtemp alone allows only us), because PostgreSQL runs as another user where we are root. */
export async function temporaryDirectory(prefix = 'onhand-test-'): Promise<string> {
  const dir = await mkdtemp(path.join(await realpath(tmpdir()), prefix));
  await chmod(dir, 0o755);
  return dir;
}
