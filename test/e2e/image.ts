import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, readdir, rm, stat, symlink } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import balena from '@balena/dockerignore';
import type { Instruction, Stage } from '../support/dockerfile.js';
import { root } from './processes.js';

/**
 * The Dockerfile, carried out without Docker: each stage is a folder that begins empty and gets exactly what is copied
 * into it. Packages are linked from this clone instead of installed: all of them for `npm install`, and only those of
 * production after `npm prune --omit=dev`. What is done to the container's own root is left out.
 */
const run = promisify(execFile);

/** What .dockerignore leaves of these files of the clone, by Docker's own rules. */
export async function leftIn(files: readonly string[]): Promise<string[]> {
  const excluded = balena.default().add(await readFile(path.join(root, '.dockerignore'), 'utf8'));
  return excluded.filter([...files]);
}

/** Files of the build context under `source`, relative to it. */
export async function contextFiles(source: string): Promise<string[]> {
  const from = path.normalize(source).replace(/\/$/, '');
  const found = await stat(path.join(root, from)).catch(() => null);
  if (found === null) return [];
  if (!found.isDirectory()) return await leftIn([from]);
  const entries = await readdir(path.join(root, from), { recursive: true, withFileTypes: true });
  return await leftIn(
    entries
      .filter((entry) => entry.isFile())
      .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name))),
  );
}

/** @returns what is copied, and where to */
export function copied({ words }: Instruction): { sources: readonly string[]; target: string } {
  return { sources: words.slice(0, -1), target: words.at(-1) ?? '' };
}

/** @returns the folders of the stages, which the image calls by their WORKDIR */
export async function carryOut(stages: readonly Stage[], dir: string): Promise<string[]> {
  const folders = new Map<string, string>();
  for (const [n, stage] of stages.entries()) {
    const folder = path.join(dir, `stage-${n}`);
    await mkdir(folder);
    if (stage.as !== null) folders.set(stage.as, folder);
    for (const instruction of stage.instructions) {
      if (instruction.name === 'COPY') await copyInto(folder, instruction, folders);
      if (instruction.name === 'RUN') await runIn(folder, instruction.words.join(' '));
    }
  }
  return stages.map((_stage, n) => path.join(dir, `stage-${n}`));
}

async function copyInto(folder: string, instruction: Instruction, folders: ReadonlyMap<string, string>): Promise<void> {
  const { sources, target } = copied(instruction);
  const { from } = instruction.flags;
  for (const source of sources) {
    if (from === undefined) {
      for (const file of await contextFiles(source)) await cp(path.join(root, file), path.join(folder, file));
      continue;
    }
    const stage = folders.get(from);
    if (stage === undefined) throw new Error(`There is no stage ${from} before this one`);
    const name = path.basename(source);
    const to = target.endsWith(`/${name}`) ? target : path.join(target, name);
    await cp(path.join(stage, name), path.join(folder, to), { recursive: true, verbatimSymlinks: true });
  }
}

async function runIn(folder: string, line: string): Promise<void> {
  for (const command of line.split('&&').map((part) => part.trim())) {
    if (command.startsWith('npm install')) {
      await symlink(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
    } else if (command.startsWith('npm prune --omit=dev')) await linkProductionPackages(folder);
    else if (command.startsWith('npm run ')) {
      await run('npm', command.split(' ').slice(1), { cwd: folder, timeout: 240_000 });
    } else if (!/^(mkdir|chown) /.test(command))
      throw new Error(`The test does not know how to do without: ${command}`);
  }
}

/** Their own packages are found where the links lead, so only what the hub itself imports is seen to be missing. */
async function linkProductionPackages(folder: string): Promise<void> {
  const { stdout } = await run('npm', ['ls', '--omit=dev', '--all', '--parseable'], { cwd: root });
  const modules = path.join(root, 'node_modules');
  const names = stdout
    .split('\n')
    .map((line) => path.relative(modules, line))
    .filter((name) => name !== '' && !name.startsWith('..') && !name.includes('node_modules'));
  await rm(path.join(folder, 'node_modules'));
  for (const name of new Set(names)) {
    await mkdir(path.dirname(path.join(folder, 'node_modules', name)), { recursive: true });
    await symlink(path.join(modules, name), path.join(folder, 'node_modules', name));
  }
}
