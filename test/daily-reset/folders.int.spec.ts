import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { appendFile, mkdir, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Projector } from '../../src/projections/projector.js';
import { FinishFiles } from '../../src/modules/daily-reset/finish-files.js';
import { LookForFiles } from '../../src/modules/daily-reset/look-for-files.js';
import { ownerKey, startHubUnderTest, type HubUnderTest } from '../api/hub-under-test.js';
import { given, onHand } from '../imports/send.js';
import { sftpLogin, startSftpServer, type SftpServer } from '../support/sftp-server.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { until } from '../support/until.js';
import { addSource, filesAtRest, header, rowsOf, sendFile } from './given.js';

let hub: HubUnderTest;
let base: string;
let server: SftpServer;
beforeAll(async () => {
  base = await temporaryDirectory();
  hub = await startHubUnderTest({ ONHAND_RESET_FOLDERS: base });
  await given(hub);
  server = await startSftpServer(base);
});
afterAll(async () => {
  await hub.close();
  await server.stop();
  await rm(base, { recursive: true, force: true });
});

const folder = async (name: string) => {
  await mkdir(path.join(base, name), { recursive: true });
  return path.join(base, name);
};
const secondsAgo = (seconds: number) => new Date(Math.floor(Date.now() / 1000) * 1000 - seconds * 1000);
/** A file that was written a while ago. */
async function put(dir: string, name: string, text: string, seconds = 60): Promise<void> {
  await writeFile(path.join(dir, name), text);
  await utimes(path.join(dir, name), secondsAgo(seconds), secondsAgo(seconds));
}
const look = (id: string) => hub.hub.app.get(LookForFiles).look(id, 'test');
const byHand = { schedule: { kind: 'by-hand' }, settleSeconds: 0 };

describe('a folder', () => {
  it('is read, as of the time of its file, which then lies in the archive with its report', async () => {
    const dir = await folder('plain');
    await given(hub, 'PLAIN');
    await addSource(hub, 'plain', { from: { kind: 'folder', folder: 'plain' }, files: 'stock-*.csv', ...byHand });
    await put(dir, 'stock-1.csv', header + rowsOf({ PLAIN: 6 }));
    await put(dir, 'other.txt', 'nothing of ours');
    expect((await hub.call('POST', '/v1/reset-sources/plain/look')).status).toBe(202);
    const [file] = await filesAtRest(hub, 'plain', 1);
    expect(file).toMatchObject({ name: 'stock-1.csv', state: 'applied', asOf: file.modifiedAt });
    expect(await onHand(hub, 'PLAIN')).toBe(6);
    await expect.poll(() => readdir(dir), { timeout: 15_000 }).toEqual(['archive', 'other.txt']);
    const report = await until('the report', async () =>
      (await readdir(path.join(dir, 'archive'))).find((name) => name.endsWith('.report.json')),
    );
    expect(JSON.parse(await readFile(path.join(dir, 'archive', report), 'utf8'))).toMatchObject({
      file: 'stock-1.csv',
      state: 'applied',
      import: { rows: { applied: 1 }, check: { raised: 1 } },
    });
  });

  it('is looked into by the schedule, file after file, the oldest moment first', async () => {
    const dir = await folder('ordered');
    await given(hub, 'ORDERED');
    await put(dir, 'stock-20260302-0400.csv', header + rowsOf({ ORDERED: 2 }), 500);
    await put(dir, 'stock-20260301-0400.csv', header + rowsOf({ ORDERED: 1 }), 60);
    await addSource(hub, 'ordered', {
      from: { kind: 'folder', folder: 'ordered' },
      moment: { kind: 'name', pattern: 'stock-{yyyyMMdd}-{HHmm}.csv' },
      timeZone: 'Europe/Berlin',
      schedule: { kind: 'every', minutes: 1 },
      settleSeconds: 0,
    });
    const files = await filesAtRest(hub, 'ordered', 2);
    expect(files.map(({ state }) => state)).toEqual(['applied', 'applied']);
    expect(files.map(({ asOf }) => String(asOf)).toSorted()).toEqual([
      '2026-03-01T03:00:00.000Z',
      '2026-03-02T03:00:00.000Z',
    ]);
    expect(await onHand(hub, 'ORDERED')).toBe(2);
  });

  it('has its files read only once their size and time stand still', async () => {
    const dir = await folder('growing');
    await given(hub, 'GROWING');
    await addSource(hub, 'growing', { from: { kind: 'folder', folder: 'growing' }, ...byHand, settleSeconds: 3600 });
    await put(dir, 'stock.csv', header);
    expect(await look('growing')).toEqual({ taken: 0, watched: 0 });
    // An hour of standing still, as far as anybody can tell; but in the meantime it grew.
    const hourLater = `UPDATE reset_files SET seen_at = seen_at - interval '1 hour' WHERE source_id = 'growing'`;
    await hub.database.pool.query(hourLater);
    await appendFile(path.join(dir, 'stock.csv'), rowsOf({ GROWING: 3 }));
    expect(await look('growing')).toEqual({ taken: 0, watched: 0 });
    await hub.database.pool.query(hourLater);
    expect(await look('growing')).toEqual({ taken: 1, watched: 0 });
    expect((await filesAtRest(hub, 'growing', 1))[0].state).toBe('applied');
  });

  it('never leads out of the one that is allowed', async () => {
    await symlink('/etc', path.join(base, 'link'));
    for (const [id, outside] of [
      ['up', '../'],
      ['absolute', '/etc'],
      ['link', 'link'],
    ] as const) {
      await addSource(hub, id, { from: { kind: 'folder', folder: outside }, ...byHand });
      const { status, body } = await hub.call('POST', `/v1/reset-sources/${id}/test`);
      expect([status, body.type, body.detail]).toEqual([
        422,
        'urn:onhand:problem:reset-source-failed',
        expect.stringContaining('ONHAND_RESET_FOLDERS'),
      ]);
    }
  });

  it('that is not there, or a file that never comes, is said at the source', async () => {
    await addSource(hub, 'nowhere', { from: { kind: 'folder', folder: 'nowhere' }, ...byHand });
    await look('nowhere');
    const { body } = await hub.call('GET', '/v1/reset-sources/nowhere');
    expect(body).toMatchObject({
      problem: expect.stringContaining('There is no folder'),
      lookedAt: expect.any(String),
    });
    await folder('late');
    await addSource(hub, 'late', { from: { kind: 'folder', folder: 'late' }, ...byHand });
    await hub.database.pool.query(
      `INSERT INTO reset_looks (source_id, expected_since, expected_until) VALUES ('late', now() - interval '3 hours', now())`,
    );
    await expect
      .poll(async () => (await hub.call('GET', '/v1/reset-sources/late')).body.problem, { timeout: 15_000 })
      .toMatch(/^No file came from .* UTC until .* UTC\.$/);
  });
});

describe('a file whose hub died while it took it', () => {
  /** As such a hub leaves it. @param watched seconds for which it lay in a folder before it was taken; 0: it was sent */
  const leave = async (source: string, text: string, watched: number, importId: string | null = null) => {
    const id = randomUUID();
    await hub.database.pool.query(
      `INSERT INTO reset_files (id, source_id, name, size, modified_at, state, seen_at, taken_at, hash, import_id, by)
       VALUES ($1, $2, 'stock.csv', $3, now() - interval '1 hour', 'taken', now() - interval '11 minutes' - $4 * interval '1 second', now() - interval '11 minutes', $5, $6, 'test')`,
      [id, source, text.length, watched, createHash('sha256').update(text).digest(), importId],
    );
    return id;
  };
  const finish = () => hub.hub.app.get(FinishFiles).finish();
  const shown = async (id: string) => (await hub.call('GET', `/v1/reset-files/${id}`)).body;

  // Broken once: there can be one watched file of a name, and nothing of any source came to its end any more.
  it('is not in the way of a newer one that has come under its name, nor of anybody else', async () => {
    const dir = await folder('overtaken');
    await addSource(hub, 'overtaken', {
      from: { kind: 'folder', folder: 'overtaken' },
      ...byHand,
      settleSeconds: 3600,
    });
    const old = await leave('overtaken', 'old', 60);
    await put(dir, 'stock.csv', header);
    await look('overtaken');
    await finish();
    expect(await shown(old)).toMatchObject({
      state: 'refused',
      problem: expect.stringContaining('A newer one has come'),
    });
    const { body } = await hub.call('GET', '/v1/reset-files?source=overtaken');
    expect(body.data.map(({ state }: { state: string }) => state).toSorted()).toEqual(['refused', 'seen']);
  });

  // Broken once: it was watched for ever, in no folder.
  it('is refused where it was sent, and to be sent again', async () => {
    await addSource(hub, 'sent-once');
    const id = await leave('sent-once', 'sent', 0);
    await finish();
    expect(await shown(id)).toMatchObject({ state: 'refused', problem: expect.stringContaining('Send it again') });
  });

  // Broken once: sent again at once it was told to be a repeat, of what was refused some minutes later.
  it('may be sent again, and is not called a repeat of what nobody knows the end of', async () => {
    await given(hub, 'AGAIN');
    await addSource(hub, 'sent-twice');
    const text = header + rowsOf({ AGAIN: 7 });
    const importId = randomUUID();
    await hub.database.pool.query(
      `INSERT INTO imports (id, kind, on_error, preview, client, by) VALUES ($1, 'reset', 'skip', false, 'x', 'x')`,
      [importId],
    );
    await leave('sent-twice', text, 0, importId);
    const early = await fetch(`${hub.url}/v1/reset-sources/sent-twice/files?name=again.csv`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${ownerKey}`, 'Content-Type': 'text/csv' },
      body: text,
    });
    expect([early.status, (await early.json()) as object]).toMatchObject([
      503,
      { type: 'urn:onhand:problem:unavailable' },
    ]);
    await hub.database.pool.query(`UPDATE imports SET state = 'refused', ended_at = now() WHERE id = $1`, [importId]);
    expect((await sendFile(hub, 'sent-twice', text, 'name=again.csv')).state).toBe('applied');
    expect(await onHand(hub, 'AGAIN')).toBe(7);
  });
});

describe('an SFTP server', () => {
  const sftp = (settings: object = {}) => ({
    from: {
      kind: 'sftp',
      host: '127.0.0.1',
      port: server.port,
      username: sftpLogin.username,
      folder: '/remote',
      ...settings,
    },
    secret: { password: sftpLogin.password },
    ...byHand,
  });

  it('shows its key, which a person confirms before any password leaves', async () => {
    await folder('remote');
    const logins = server.logins();
    await addSource(hub, 'sftp', sftp());
    const asked = await hub.call('POST', '/v1/reset-sources/sftp/test');
    expect(asked.body).toMatchObject({ hostKey: server.hostKey, problem: expect.stringContaining('confirm') });
    expect(server.logins()).toBe(logins);
    await hub.call('PATCH', '/v1/reset-sources/sftp', { from: { ...sftp().from, hostKey: server.hostKey } });
    expect((await hub.call('POST', '/v1/reset-sources/sftp/test')).body).toMatchObject({
      hostKey: null,
      problem: null,
    });
    const { body } = await hub.call('GET', '/v1/reset-sources/sftp');
    expect(JSON.stringify(body)).not.toContain(sftpLogin.password);
    const { rows } = await hub.database.pool.query(
      `SELECT (SELECT count(*) FROM events WHERE data::text LIKE $1) + (SELECT count(*) FROM cart_secrets WHERE encode(ciphertext, 'escape') LIKE $1) AS found`,
      [`%${sftpLogin.password}%`],
    );
    expect(rows[0]).toEqual({ found: '0' });
  });

  it('has its files fetched, applied and moved to the archive', async () => {
    const dir = await folder('remote');
    await given(hub, 'REMOTE');
    await put(dir, 'remote.csv', header + rowsOf({ REMOTE: 8 }));
    expect(await look('sftp')).toMatchObject({ taken: 1 });
    expect((await filesAtRest(hub, 'sftp', 1))[0]).toMatchObject({ name: 'remote.csv', state: 'applied' });
    expect(await onHand(hub, 'REMOTE')).toBe(8);
    await expect.poll(() => readdir(dir), { timeout: 15_000 }).toEqual(['archive']);
    await expect.poll(async () => (await readdir(path.join(dir, 'archive'))).length).toBe(2);
  });

  it('lets a private key in that a passphrase opens, which is stored encrypted and never shown or logged', async () => {
    const dir = await folder('by-key');
    await given(hub, 'BY-KEY');
    const { privateKey, passphrase } = sftpLogin;
    const at = { ...sftp({ hostKey: server.hostKey, folder: '/by-key' }), secret: { privateKey, passphrase } };
    const written: string[] = [];
    const spies = [process.stdout, process.stderr].map((stream) =>
      vi.spyOn(stream, 'write').mockImplementation((text) => written.push(String(text)) > 0),
    );
    try {
      await addSource(hub, 'by-key', at);
      expect((await hub.call('POST', '/v1/reset-sources/by-key/test')).body).toMatchObject({ problem: null });
      await put(dir, 'key.csv', header + rowsOf({ 'BY-KEY': 4 }));
      expect(await look('by-key')).toMatchObject({ taken: 1 });
      expect((await filesAtRest(hub, 'by-key', 1))[0]).toMatchObject({ state: 'applied' });
      // Another half, a wrong passphrase and nonsense do not get in, and what is said of them does not tell them.
      for (const wrong of [{ privateKey, passphrase: 'another' }, { privateKey: 'no key at all' }]) {
        await hub.call('PATCH', '/v1/reset-sources/by-key', { secret: wrong });
        const { status, body } = await hub.call('POST', '/v1/reset-sources/by-key/test');
        expect([status, body.detail]).toEqual([422, expect.stringContaining('did not let us in')]);
        written.push(JSON.stringify(body));
      }
    } finally {
      for (const spy of spies) spy.mockRestore();
    }
    await hub.call('PATCH', '/v1/reset-sources/by-key', { secret: { privateKey, passphrase } });
    const secretLine = privateKey.split('\n')[2] as string;
    const shown = JSON.stringify((await hub.call('GET', '/v1/reset-sources/by-key')).body);
    for (const secret of [secretLine, passphrase, 'another', 'no key at all'])
      expect([secret, [...written, shown].some((text) => text.includes(secret))]).toEqual([secret, false]);
    const { rows } = await hub.database.pool.query(
      `SELECT count(*) FILTER (WHERE encode(ciphertext, 'escape') LIKE ANY ($1)) AS plain, count(*) FILTER (WHERE cart_id LIKE '%by-key%') AS kept,
              (SELECT count(*) FROM events WHERE data::text LIKE ANY ($1)) + (SELECT count(*) FROM commands WHERE answer::text LIKE ANY ($1)) AS logged FROM cart_secrets`,
      [[`%${secretLine}%`, `%${passphrase}%`]],
    );
    expect(rows[0]).toEqual({ plain: '0', kept: '1', logged: '0' });
  });

  it('a file that grows or vanishes while it is read is not taken, and tried again', async () => {
    const dir = await folder('remote');
    const grown = path.join(dir, 'grown.csv');
    await put(dir, 'grown.csv', header + rowsOf({ REMOTE: 1 }));
    server.onRead = async (file) => {
      server.onRead = undefined;
      await appendFile(file, rowsOf({ 'REMOTE-2': 1 }));
    };
    expect(await look('sftp')).toMatchObject({ taken: 0 });
    server.onRead = async (file) => {
      server.onRead = undefined;
      await rm(file);
    };
    expect(await look('sftp')).toMatchObject({ taken: 0 });
    expect(existsSync(grown)).toBe(false);
    expect(await onHand(hub, 'REMOTE')).toBe(8);
    await put(dir, 'grown.csv', header + rowsOf({ REMOTE: 5 }), 30);
    expect(await look('sftp')).toMatchObject({ taken: 1 });
    await filesAtRest(hub, 'sftp', 2);
    expect(await onHand(hub, 'REMOTE')).toBe(5);
  });

  it('with another key, a wrong password, or at a private address that is not allowed, gets nothing', async () => {
    const port = server.port;
    await server.stop();
    server = await startSftpServer(base, port);
    const changed = await hub.call('POST', '/v1/reset-sources/sftp/test');
    expect(changed.body).toMatchObject({ hostKey: server.hostKey, problem: expect.stringContaining('another key') });
    expect(server.logins()).toBe(0);
    await look('sftp');
    expect((await hub.call('GET', '/v1/reset-sources/sftp')).body.problem).toMatch(/another key/);
    await addSource(hub, 'wrong-password', { ...sftp({ hostKey: server.hostKey }), secret: { password: 'no' } });
    expect((await hub.call('POST', '/v1/reset-sources/wrong-password/test')).body.detail).toMatch(/did not let us in/);
    const away = sftp({ hostKey: server.hostKey, port: 1 });
    await addSource(hub, 'away', away);
    expect((await hub.call('POST', '/v1/reset-sources/away/test')).body.detail).toMatch(/cannot be reached/);
    const strict = await startHubUnderTest({ ONHAND_ALLOW_PRIVATE_CART_URLS: 'false' });
    try {
      await addSource(strict, 'inside', sftp({ hostKey: server.hostKey }));
      const refused = await strict.call('POST', '/v1/reset-sources/inside/test');
      expect(refused.body.detail).toMatch(/private address/);
      expect((await strict.call('DELETE', '/v1/reset-sources/inside')).status).toBe(200);
      expect(await strict.hub.app.get(Projector).caughtUp(20_000)).toBe(true);
      expect((await strict.call('GET', '/v1/reset-sources/inside')).status).toBe(404);
    } finally {
      await strict.close();
    }
  });
});
