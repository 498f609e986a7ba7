import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, inject, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const TIMEOUT_MS = 240_000;

interface BusyHour {
  readonly orders: number;
  /** Before a comparison; its shops in the order in which they were named. */
  readonly differed: readonly {
    readonly right: number;
    readonly hub: number;
    readonly shops: readonly number[];
    /** What checkouts wrote beside what they sold, by the shops' own journals. */
    readonly swallowed: readonly number[];
  }[];
}

describe('npm run demo', () => {
  it(
    'plays a day with an outage and a kill, and ends with everything in agreement',
    async () => {
      const before = await leftOver();
      const { code, stdout, stderr } = await runDemo(['--once', '--json', '--kill-at', '61']);
      if (code !== 0) throw new Error(`The demo ended with code ${code}:\n${stderr}`);
      // One JSON object and nothing else.
      expect(stdout.trim().split('\n')).toHaveLength(1);
      const summary = JSON.parse(stdout) as unknown;
      expect(summary).toMatchObject({ agree: true, kills: 1, lost: 0, doubled: 0, quarantined: 0, deadLetters: 1 });
      expect(await leftOver()).toEqual(before);
    },
    TIMEOUT_MS,
  );

  it.skipIf(!inject('shopServers'))(
    'plays a busy hour at shops with our bridges and one with a script, and they agree in the end',
    async () => {
      const before = await leftOver();
      const { code, stdout, stderr } = await runDemo(['--shops', 'oscommerce,x-cart,seti', '--json']);
      if (code !== 0) throw new Error(`The demo ended with code ${code}:\n${stderr}${stdout}`);
      expect(stdout.trim().split('\n')).toHaveLength(1);
      const hour = JSON.parse(stdout) as BusyHour;
      expect(hour).toMatchObject({ agree: true, quarantined: 0, deadLetters: 0, stillDiffering: [] });
      expect(hour.orders).toBeGreaterThan(100);
      // A checkout of osCommerce may swallow a change until a comparison; the hub has counted every sale by itself.
      for (const { right, hub, shops, swallowed } of hour.differed)
        expect([hub, ...shops.map((shown, at) => shown - (swallowed[at] ?? 0))]).toEqual([right, right, right, right]);
      expect(await leftOver()).toEqual(before);
    },
    TIMEOUT_MS,
  );

  it('explains itself without starting anything', async () => {
    const help = await runDemo(['--help']);
    expect(help.code).toBe(0);
    expect(help.stdout).toContain('--kill-at');
    const wrong = await runDemo(['--kill-at', 'soon']);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain('--kill-at must be a whole number');
  });
});

/** Folders of demos under .onhand/. */
async function leftOver(): Promise<string[]> {
  const names = await readdir(`${root}.onhand`).catch(() => []);
  return names.filter((name) => name.startsWith('demo-')).sort();
}

function runDemo(args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, ['samples/run-demo.mjs', ...args], { cwd: root });
  const said = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (said.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (said.stderr += chunk));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, ...said }));
  });
}
