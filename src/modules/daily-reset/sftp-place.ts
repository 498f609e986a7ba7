/**
 * A folder behind SFTP. The server's key is pinned: a person confirms its fingerprint once, and another one is refused
 * before any password leaves. The address is checked as those of carts are, at the look-up and on the connected socket.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import SftpClient from 'ssh2-sftp-client';
import { addressIsAllowed, lookupAllowed } from '../../cart-workers/connectors/cart-address.js';
import { messageOf } from '../start/message-of.js';
import { ARCHIVE, FILES_MAX, FilePlaceError, type FilePlace, type PlacedFile } from './file-place.js';

export interface SftpLogin {
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly folder: string;
  readonly hostKey: string | null;
  readonly secret: SftpSecret;
  readonly allowPrivateAddress: boolean;
}

export interface SftpSecret {
  readonly password?: string | undefined;
  readonly privateKey?: string | undefined;
  readonly passphrase?: string | undefined;
}

/** Its key is not the one that a person confirmed, or none was. */
export class HostKeyError extends FilePlaceError {
  override readonly name = 'FilePlaceError';
  constructor(
    readonly shown: string,
    confirmed: string | null,
  ) {
    super(
      confirmed === null
        ? `Nobody has confirmed the key of the SFTP server yet; it shows ${shown}. Compare it with what its operator says, then confirm it: hostKey.`
        : `The SFTP server shows another key than was confirmed (${shown}, not ${confirmed}). Nothing was sent. If its operator changed it, confirm the new one: hostKey.`,
    );
  }
}

const CONNECT_MS = 15_000;
/** Of a server that says nothing for so long nothing more is expected. */
const SILENCE_MS = 60_000;

/** @throws FilePlaceError */
export async function openSftp(login: SftpLogin): Promise<FilePlace> {
  const sock = await connect(login);
  const client = new SftpClient('onhand', { error: () => undefined, end: () => undefined, close: () => undefined });
  let shown: string | null = null;
  try {
    await client.connect({
      sock,
      username: login.username,
      ...(login.secret.password !== undefined && { password: login.secret.password }),
      ...(login.secret.privateKey !== undefined && { privateKey: login.secret.privateKey }),
      ...(login.secret.passphrase !== undefined && { passphrase: login.secret.passphrase }),
      readyTimeout: CONNECT_MS,
      hostVerifier: (key: Buffer) => {
        shown = fingerprint(key);
        return shown === login.hostKey;
      },
    });
  } catch (error) {
    sock.destroy();
    if (shown !== null && shown !== login.hostKey) throw new HostKeyError(shown, login.hostKey);
    throw new FilePlaceError(`The SFTP server did not let us in: ${messageOf(error)}.`);
  }
  return placeOf(client, login.folder, sock);
}

const fingerprint = (key: Buffer) => `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;

async function connect({ host, port, allowPrivateAddress }: SftpLogin): Promise<net.Socket> {
  const bare = host.replace(/^\[|\]$/g, '');
  const refused = new FilePlaceError(
    `${host} is at a private address; the hub needs ONHAND_ALLOW_PRIVATE_CART_URLS=true for it.`,
  );
  if (net.isIP(bare) !== 0 && !addressIsAllowed(bare, allowPrivateAddress)) throw refused;
  const socket = net.connect({ host: bare, port, lookup: lookupAllowed(allowPrivateAddress) });
  socket.setTimeout(CONNECT_MS, () => socket.destroy(new Error('it did not answer in time')));
  try {
    await once(socket, 'connect');
  } catch (error) {
    throw new FilePlaceError(`The SFTP server ${host}:${port} cannot be reached: ${messageOf(error)}.`);
  }
  if (!addressIsAllowed(socket.remoteAddress, allowPrivateAddress)) {
    socket.destroy();
    throw refused;
  }
  socket.setTimeout(SILENCE_MS);
  return socket;
}

function placeOf(client: SftpClient, folder: string, sock: net.Socket): FilePlace {
  const dir = folder.replace(/\/+$/, '') || '/';
  const at = (name: string) => `${dir === '/' ? '' : dir}/${plainName(name)}`;
  const inArchive = async (name: string) => {
    const archive = at(ARCHIVE);
    if ((await client.exists(archive)) === false) await client.mkdir(archive);
    return `${archive}/${plainName(name)}`;
  };
  return {
    async list() {
      const entries = await said(client.list(dir));
      if (entries.length > FILES_MAX) throw new FilePlaceError(`The folder holds more than ${FILES_MAX} files.`);
      return entries
        .filter(({ type, name }) => type === '-' && !name.startsWith('.'))
        .map(({ name, size, modifyTime }) => ({ name, size, modifiedAt: new Date(modifyTime) }));
    },
    fetch: async (name, to) => void (await said(client.get(at(name), to))),
    async stat(name): Promise<PlacedFile | null> {
      if ((await said(client.exists(at(name)))) === false) return null;
      const found = await said(client.stat(at(name)));
      return { name, size: found.size, modifiedAt: new Date(found.modifyTime) };
    },
    archive: async (name, as) => void (await said(inArchive(as).then((to) => client.rename(at(name), to)))),
    leave: async (as, text) => void (await said(inArchive(as).then((to) => client.put(Buffer.from(text), to)))),
    async close() {
      await client.end().catch(() => undefined);
      sock.destroy();
    },
  };
}

/** Names come from the server: none of them leads out of the folder. */
function plainName(name: string): string {
  if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0'))
    throw new FilePlaceError('The server named a file that is none.');
  return name;
}

async function said<T>(work: Promise<T>): Promise<T> {
  return work.catch((error: unknown) => {
    throw error instanceof FilePlaceError ? error : new FilePlaceError(`The SFTP server: ${messageOf(error)}.`);
  });
}
