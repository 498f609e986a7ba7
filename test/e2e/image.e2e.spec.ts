import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { onServer, withDatabase } from '../support/database-server.js';
import { environmentOf, last, readDockerfile } from '../support/dockerfile.js';
import { freePort } from '../support/free-port.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { carryOut, contextFiles, copied, leftIn } from './image.js';
import { endAll, root, startProcess, type HubProcess } from './processes.js';

const run = promisify(execFile);
const stages = readDockerfile(readFileSync(path.join(root, 'Dockerfile'), 'utf8'));
const image = stages.at(-1);
if (image === undefined) throw new Error('The Dockerfile has no stage');

describe('the build context', () => {
  const wanted = stages.flatMap(({ instructions }) =>
    instructions
      .filter(({ name, flags }) => name === 'COPY' && flags['from'] === undefined)
      .flatMap((instruction) => copied(instruction).sources),
  );

  it.each(wanted)('has %s, and .dockerignore leaves it in', async (source) => {
    expect(await contextFiles(source)).not.toEqual([]);
  });

  it('has neither secrets, data, tests nor packages of this machine', async () => {
    const kept = await Promise.all(['src', 'drizzle', 'test', 'docs', '.github'].map(contextFiles));
    expect(kept.flat().filter((file) => file.endsWith('.spec.ts') || !/^(src|drizzle)\//.test(file))).toEqual([]);
    const ofThisMachine = ['.env', '.onhand/key', '.git/config', 'node_modules/pg/package.json', 'dist/main.js'];
    expect(await leftIn([...ofThisMachine, 'package.json'])).toEqual(['package.json']);
  });
});

describe('the image', () => {
  const database = `${inject('databasePrefix')}_image`;
  const ownerKey = randomBytes(24).toString('hex');
  let dir: string;
  let folder: string;
  let hub: HubProcess | undefined;
  let environment: Record<string, string>;

  beforeAll(async () => {
    dir = await temporaryDirectory('onhand-image-');
    folder = (await carryOut(stages, dir)).at(-1) ?? '';
    await onServer(inject('postgresUrl'), `CREATE DATABASE ${database}`);
    environment = {
      ...environmentOf(image),
      DATABASE_URL: withDatabase(inject('postgresUrl'), database),
      ONHAND_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
      ONHAND_OWNER_KEY: ownerKey,
      // Another hub may listen where the container has a port of its own.
      ONHAND_PORT: String(await freePort()),
      ONHAND_HOST: '127.0.0.1',
      ONHAND_DATA_DIR: path.join(dir, 'data'),
      ONHAND_LANES_MAX: '4',
      ONHAND_DATABASE_POOL_MAX: '8',
    };
    // Ten seconds of it are the compiler's, several times that on a busy machine.
  }, 300_000);
  afterAll(async () => {
    await endAll(hub === undefined ? [] : [hub]);
    await onServer(inject('postgresUrl'), `DROP DATABASE IF EXISTS ${database} WITH (FORCE)`);
    await rm(dir, { recursive: true, force: true });
  });

  const isHealthy = async () => {
    const [program = '', ...args] = last(image, 'HEALTHCHECK')?.words ?? [];
    expect(program).toBe('node');
    return await run(process.execPath, args, { env: { ...process.env, ...environment }, timeout: 10_000 }).then(
      () => true,
      () => false,
    );
  };

  it('holds what its steps made of what they were given, and no package of development', () => {
    expect(readdirSync(folder).sort()).toEqual(['dist', 'drizzle', 'node_modules', 'package.json']);
    expect(existsSync(path.join(folder, 'dist/main.js'))).toBe(true);
    expect(readdirSync(path.join(folder, 'drizzle')).filter((name) => name.endsWith('.sql'))).not.toEqual([]);
    const { dependencies, devDependencies } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
      devDependencies: Record<string, string>;
    };
    const has = (name: string) => existsSync(path.join(folder, 'node_modules', name));
    expect(Object.keys(dependencies).filter((name) => !has(name))).toEqual([]);
    for (const name of ['vitest', 'testcontainers', '@nestjs/cli']) {
      expect(devDependencies).toHaveProperty(name);
      expect([name, has(name)]).toEqual([name, false]);
    }
  });

  it('runs the hub as somebody who is not root, and gives that one the volume', () => {
    // As `npm start` does it.
    const { scripts } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const flags = scripts['start']?.split(' ').filter((word) => word.startsWith('--')) ?? [];
    expect(flags).toHaveLength(1);
    expect(last(image, 'CMD')?.words).toEqual(['node', ...flags, 'dist/main.js']);
    const [user = ''] = last(image, 'USER')?.words ?? [];
    expect(['', 'root', '0']).not.toContain(user);
    const [volume = ''] = last(image, 'VOLUME')?.words ?? [];
    expect(environmentOf(image)['ONHAND_DATA_DIR']).toBe(volume);
    const at = (name: string) => image.instructions.findIndex((instruction) => instruction.name === name);
    expect(last(image, 'RUN')?.words.join(' ')).toBe(`mkdir ${volume} && chown ${user}:${user} ${volume}`);
    // What is done to a folder after it was declared a volume is lost, and only root may do it.
    expect(at('RUN')).toBeLessThan(at('VOLUME'));
    expect(at('RUN')).toBeLessThan(at('USER'));
  });

  it('answers its health check when it is up, and not before; passes the smoke test, and ends when it is told to', async () => {
    expect(await isHealthy()).toBe(false);
    hub = startProcess(last(image, 'CMD')?.words ?? [], environment, folder);
    await hub.started();
    expect(await isHealthy()).toBe(true);
    const smoke = path.join(root, '.github/smoke.mjs');
    const { stdout } = await run(
      process.execPath,
      [smoke, '--url', `http://127.0.0.1:${environment['ONHAND_PORT']}`, '--workers', '1'],
      { env: { ...process.env, ONHAND_OWNER_KEY: ownerKey }, timeout: 60_000 },
    );
    expect(stdout).toContain('Received 7, sold 2: 5 of');
    hub.child.kill('SIGTERM');
    expect(await hub.ended).toBe(0);
  });

  it('has the command line', async () => {
    const { stdout } = await run(process.execPath, ['dist/cli.js', '--version'], { cwd: folder, timeout: 20_000 });
    const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string };
    expect(stdout.trim()).toBe(version);
  });
});
