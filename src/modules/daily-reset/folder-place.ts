import { copyFile, mkdir, readdir, realpath, rename, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ARCHIVE, FILES_MAX, FilePlaceError, type FilePlace, type PlacedFile } from './file-place.js';

/**
 * A folder below the one that the hub's operator allows. Settings come over HTTP: they must not lead out of it, by `..` or
 * by a link.
 * @throws FilePlaceError
 */
export async function openFolder(base: string, folder: string): Promise<FilePlace> {
  const dir = path.resolve(base, folder);
  await mkdir(base, { recursive: true });
  const [realBase, real] = await Promise.all([realpath(base), realpath(dir).catch(() => null)]);
  if (real === null) throw new FilePlaceError(`There is no folder ${dir} on the hub's machine; make it.`);
  if (real !== realBase && !real.startsWith(realBase + path.sep))
    throw new FilePlaceError(`The folder must lie below ${base}, which ONHAND_RESET_FOLDERS names.`);
  const at = (name: string) => path.join(real, path.basename(name));
  const inArchive = async (name: string) => {
    await mkdir(path.join(real, ARCHIVE), { recursive: true });
    return path.join(real, ARCHIVE, path.basename(name));
  };
  return {
    async list() {
      const entries = await said(readdir(real, { withFileTypes: true }));
      if (entries.length > FILES_MAX) throw new FilePlaceError(`The folder holds more than ${FILES_MAX} files.`);
      const files = entries.filter((entry) => entry.isFile() && !entry.name.startsWith('.'));
      const found = await Promise.all(files.map(({ name }) => statOf(at(name), name)));
      return found.filter((file) => file !== null);
    },
    fetch: (name, to) => said(copyFile(at(name), to)),
    stat: (name) => statOf(at(name), name),
    archive: async (name, as) => said(rename(at(name), await inArchive(as))),
    leave: async (as, text) => said(writeFile(await inArchive(as), text)),
    close: async () => undefined,
  };
}

async function statOf(file: string, name: string): Promise<PlacedFile | null> {
  const found = await stat(file).catch(() => null);
  return found === null ? null : { name, size: found.size, modifiedAt: new Date(Math.floor(found.mtimeMs)) };
}

async function said<T>(work: Promise<T>): Promise<T> {
  return work.catch((error: unknown) => {
    throw new FilePlaceError(error instanceof Error ? error.message : String(error));
  });
}
