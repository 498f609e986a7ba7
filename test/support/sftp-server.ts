/** An SFTP server on the loopback, out of ssh2, over a real folder. */
import { createHash, generateKeyPairSync } from 'node:crypto';
import fs from 'node:fs';
import { open, readdir, rename, stat, mkdir } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import ssh2, { type Attributes, type Connection, type PublicKeyAuthContext, type SFTPWrapper } from 'ssh2';

const { Server, utils } = ssh2;
const { STATUS_CODE, OPEN_MODE } = utils.sftp;

export interface SftpServer {
  readonly port: number;
  /** As ssh-keygen shows it. */
  readonly hostKey: string;
  readonly logins: () => number;
  /** Called before each read of a file, so that a test can change it in between. */
  onRead: ((file: string) => Promise<void>) | undefined;
  stop(): Promise<void>;
}

const user = 'erp';
const password = 'sftp-password-0001';
/** A key pair of the client, as ssh-keygen writes it, and the passphrase that opens the private half. */
const clientKey = ssh2.utils.generateKeyPairSync('ed25519', {
  passphrase: 'sftp-passphrase-0001',
  cipher: 'aes256-ctr',
  rounds: 16,
});
export const sftpLogin = {
  username: user,
  password,
  privateKey: clientKey.private,
  passphrase: 'sftp-passphrase-0001',
};

export async function startSftpServer(root: string, port = 0): Promise<SftpServer> {
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'pkcs1', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  const parsed = utils.parseKey(privateKey);
  if (parsed instanceof Error) throw parsed;
  const connections = new Set<Connection>();
  let logins = 0;
  const server = new Server({ hostKeys: [privateKey] }, (client) => {
    connections.add(client);
    client.on('close', () => connections.delete(client));
    client.on('error', () => undefined);
    client.on('authentication', (auth) => {
      logins += 1;
      if (auth.username !== user) auth.reject();
      else if (auth.method === 'password' && auth.password === password) auth.accept();
      else if (auth.method === 'publickey' && isClientKey(auth)) auth.accept();
      else auth.reject(['password', 'publickey']);
    });
    client.on('session', (accept) => accept().on('sftp', (acceptSftp) => serve(acceptSftp(), root, handle)));
  });
  await new Promise<void>((resolve) => void server.listen(port, '127.0.0.1', resolve));
  const handle: SftpServer = {
    port: (server.address() as AddressInfo).port,
    hostKey: `SHA256:${createHash('sha256').update(parsed.getPublicSSH()).digest('base64').replace(/=+$/, '')}`,
    logins: () => logins,
    onRead: undefined,
    stop: async () => {
      for (const connection of connections) connection.end();
      await new Promise<void>((resolve) => void server.close(() => resolve()));
    },
  };
  return handle;
}

/** Without a signature it is only asked whether this key would do. */
function isClientKey({ key, signature, blob, hashAlgo }: PublicKeyAuthContext): boolean {
  const allowed = utils.parseKey(clientKey.public);
  if (allowed instanceof Error || !key.data.equals(allowed.getPublicSSH())) return false;
  return signature === undefined || allowed.verify(blob!, signature, hashAlgo);
}

function serve(sftp: SFTPWrapper, root: string, server: SftpServer): void {
  const at = (name: string) => path.join(root, path.posix.normalize(`/${name}`));
  const handles = new Map<number, { file?: fs.promises.FileHandle; name: string; listed?: boolean }>();
  let next = 0;
  const keep = (entry: { file?: fs.promises.FileHandle; name: string }) => {
    handles.set(next, entry);
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(next++);
    return bytes;
  };
  const answer = (id: number, work: () => Promise<void>) =>
    void work().catch((error: NodeJS.ErrnoException) =>
      sftp.status(id, error.code === 'ENOENT' ? STATUS_CODE.NO_SUCH_FILE : STATUS_CODE.FAILURE),
    );
  const attributes = async (name: string): Promise<Attributes> => {
    const { mode, uid, gid, size, atimeMs, mtimeMs } = await stat(at(name));
    return { mode, uid, gid, size, atime: Math.floor(atimeMs / 1000), mtime: Math.floor(mtimeMs / 1000) };
  };
  const done = (id: number, work: Promise<unknown>) =>
    answer(id, async () => {
      await work;
      sftp.status(id, STATUS_CODE.OK);
    });
  sftp.on('REALPATH', (id, name) => {
    const filename = path.posix.normalize(`/${name}`);
    sftp.name(id, [{ filename, longname: filename, attrs: {} as Attributes }]);
  });
  for (const ask of ['STAT', 'LSTAT'] as const)
    sftp.on(ask as 'STAT', (id, name) => answer(id, async () => sftp.attrs(id, await attributes(name))));
  sftp.on('OPENDIR', (id, name) =>
    answer(id, async () => {
      await readdir(at(name));
      sftp.handle(id, keep({ name }));
    }),
  );
  sftp.on('READDIR', (id, handle) =>
    answer(id, async () => {
      const entry = handles.get(handle.readUInt32BE(0))!;
      if (entry.listed === true) {
        sftp.status(id, STATUS_CODE.EOF);
        return;
      }
      entry.listed = true;
      const names = await readdir(at(entry.name));
      const list = names.map(async (filename) => {
        const attrs = await attributes(path.posix.join(entry.name, filename));
        const folder = (await stat(at(path.posix.join(entry.name, filename)))).isDirectory();
        return {
          filename,
          longname: `${folder ? 'd' : '-'}rw-r--r-- 1 erp erp ${attrs.size} Jan 1 00:00 ${filename}`,
          attrs,
        };
      });
      sftp.name(id, await Promise.all(list));
    }),
  );
  sftp.on('OPEN', (id, name, flags) =>
    answer(id, async () => {
      const writes = (flags & OPEN_MODE.WRITE) !== 0;
      sftp.handle(id, keep({ name, file: await open(at(name), writes ? 'w' : 'r') }));
    }),
  );
  sftp.on('READ', (id, handle, offset, length) =>
    answer(id, async () => {
      const entry = handles.get(handle.readUInt32BE(0))!;
      if (offset === 0) await server.onRead?.(at(entry.name));
      const { bytesRead, buffer } = await entry.file!.read(Buffer.alloc(length), 0, length, offset);
      if (bytesRead === 0) sftp.status(id, STATUS_CODE.EOF);
      else sftp.data(id, buffer.subarray(0, bytesRead));
    }),
  );
  sftp.on('WRITE', (id, handle, offset, data) =>
    done(id, handles.get(handle.readUInt32BE(0))!.file!.write(data, 0, data.length, offset)),
  );
  sftp.on('FSTAT', (id, handle) =>
    answer(id, async () => sftp.attrs(id, await attributes(handles.get(handle.readUInt32BE(0))!.name))),
  );
  sftp.on('CLOSE', (id, handle) => {
    const key = handle.readUInt32BE(0);
    const closing = handles.get(key)?.file?.close() ?? Promise.resolve();
    handles.delete(key);
    done(id, closing);
  });
  sftp.on('FSETSTAT', (id) => sftp.status(id, STATUS_CODE.OK));
  sftp.on('SETSTAT', (id) => sftp.status(id, STATUS_CODE.OK));
  sftp.on('MKDIR', (id, name) => done(id, mkdir(at(name))));
  sftp.on('RENAME', (id, from, to) => done(id, rename(at(from), at(to))));
}
