/** A hub of its own process or processes, and other programs beside it. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
/** As `npm start` and the image have them. */
const { scripts } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
const flags = scripts.start.split(' ').filter((word) => word.startsWith('--'));

/** One process does everything, as `npm start` has it. */
export const inOneProcess = ['api,projector,worker'];
/** As docker-compose.yml has it. */
export const inThreeProcesses = ['api', 'projector', 'worker'];

/**
 * @param options `encryptionKey`: to be given where a hub is started again on a database that holds secrets of carts;
 * `processes`: the roles of each, the one with the API first
 */
export async function startHub({
  databaseUrl,
  redisUrl,
  dataDir,
  encryptionKey = randomBytes(32).toString('base64'),
  processes = inOneProcess,
}) {
  const key = `ohk_${randomBytes(24).toString('base64url')}`;
  const started = [];
  const stop = async () => {
    for (const one of started.toReversed()) await one.stop();
  };
  try {
    for (const [n, roles] of processes.entries())
      started.push(
        await startProcess([...flags, path.join(root, 'dist/main.js')], {
          DATABASE_URL: databaseUrl,
          ...(redisUrl === undefined ? {} : { REDIS_URL: redisUrl }),
          ONHAND_ROLES: roles,
          ONHAND_ENCRYPTION_KEY: encryptionKey,
          ONHAND_DATA_DIR: n === 0 ? dataDir : `${dataDir}-${n}`,
          ONHAND_PORT: '0',
          ONHAND_OWNER_KEY: key,
          ONHAND_ALLOW_PRIVATE_CART_URLS: 'true',
          ONHAND_LOG_JSON: 'true',
        }),
      );
  } catch (error) {
    await stop();
    throw error;
  }
  const [{ url, pid }] = started;
  const ask = async (method, route, body) => {
    const response = await fetch(url + route, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${route}: ${response.status} ${await response.text()}`);
    return response.json();
  };
  /** @param lines an async generator of the file's text, asked for as it is taken */
  const send = async (route, lines) => {
    const response = await fetch(url + route, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'text/csv' },
      body: ReadableStream.from(lines()).pipeThrough(new TextEncoderStream()),
      duplex: 'half',
    });
    if (!response.ok) throw new Error(`POST ${route}: ${response.status} ${await response.text()}`);
    return response.json();
  };
  return { ask, send, stop, pid, url, key };
}

/** Starts a Node process that says on a line of JSON where it listens; `stop` ends it by its id and waits. */
export async function startProcess(args, env) {
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const url = await new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`${args[0]} ended with code ${code} before it listened`)));
    readline.createInterface({ input: child.stdout }).on('line', (line) => {
      if (!line.startsWith('{')) return;
      const said = JSON.parse(line);
      if (typeof said.listening === 'string') resolve(said.listening);
      if (said.event === 'listening') resolve(said.url);
    });
  });
  return {
    url,
    pid: child.pid,
    stop: async () => {
      child.kill('SIGTERM');
      await exited;
    },
  };
}
