import path from 'node:path';

/** Where reset files lie. Two of them exist: a folder of this machine, and one behind SFTP. */
export interface FilePlace {
  /** Plain files of the folder, not those of folders in it. */
  list(): Promise<PlacedFile[]>;
  /** Copies a file to this machine, as it is. */
  fetch(name: string, to: string): Promise<void>;
  /** @returns null: it is gone */
  stat(name: string): Promise<PlacedFile | null>;
  /** Into the folder `archive` beside it, which is made. */
  archive(name: string, as: string): Promise<void>;
  /** A small text, into `archive`. */
  leave(as: string, text: string): Promise<void>;
  close(): Promise<void>;
}

export interface PlacedFile {
  readonly name: string;
  readonly size: number;
  readonly modifiedAt: Date;
}

export const ARCHIVE = 'archive';

/** `stock.csv` → `stock.1f3a….csv`: files of the same name keep their own place in the archive. */
export function archiveName(name: string, id: string): string {
  const { name: stem, ext } = path.parse(name);
  return `${stem.slice(0, 180)}.${id.slice(0, 8)}${ext}`;
}

/** More files in one folder are no folder of reset files. */
export const FILES_MAX = 10_000;

/** The place could not be reached, or refused; the sentence says what to mend, without secrets. */
export class FilePlaceError extends Error {
  override readonly name = 'FilePlaceError';
}
