/**
 * A daily reset of 200,000 rows while 100 movements a second go on: received, staged, checked, applied, and then compared
 * with what must be there, item by item. The baseline is COPY of the same rows into a bare table, in the same run.
 */
import path from 'node:path';
import pg from 'pg';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { startHub } from './hub.mjs';
import { watchMemory } from './memory.mjs';
import { quantile } from './numbers.mjs';
import { processorTime, serverProcessorTime } from './processor-time.mjs';

const rowCount = Number(process.env.BENCH_ROWS ?? 200_000);
const perSecond = Number(process.env.BENCH_MOVEMENTS ?? 100);
const sku = (i) => `RESET-${String(i).padStart(6, '0')}`;
const quantityOf = (i) => (i * 7919) % 500;

export async function run({ databaseUrl, dataDir, log }) {
  const hub = await startHub({ databaseUrl, dataDir: path.join(dataDir, 'hub') });
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await prepare(hub);
    const copied = await copyRate(client);
    const asOf = new Date().toISOString();
    const spent = await processorTimes(hub, client);
    const held = watchMemory(hub.pid);
    const moving = keepMoving(hub);
    const started = performance.now();
    const taken = await sendAndWait(hub, asOf).finally(held);
    const seconds = (performance.now() - started) / 1000;
    const { moved, times } = await moving.stop();
    const used = spent();
    const memory = held();
    const { applyStartedAt, endedAt } = taken.import;
    const applied = rowCount / ((Date.parse(endedAt) - Date.parse(applyStartedAt)) / 1000);
    await caughtUp(client);
    const wrong = await differences(client, moved);
    const movements = [...moved.values()].reduce((sum, one) => sum + one.times, 0);
    log(
      [
        `reset: ${rowCount} rows from the first byte to the last row applied in ${seconds.toFixed(0)} s, ${(rowCount / seconds).toFixed(0)} rows/s; applied at ${applied.toFixed(0)} rows/s; COPY alone ${copied.toFixed(0)} rows/s`,
        `  beside it ${movements} movements, ${(movements / seconds).toFixed(0)}/s: p50 ${quantile(times, 0.5).toFixed(0)} ms, p99 ${quantile(times, 0.99).toFixed(0)} ms; ${wrong} of ${rowCount} items are not what they must be`,
        `  processor time: hub ${used.hub.toFixed(1)} s, PostgreSQL ${used.server.toFixed(1)} s, movements beside it included: ${(rowCount / (used.hub + used.server)).toFixed(0)} rows per second of one processor; hub ${memory.startMb} MB before, ${memory.maxMb} MB at most`,
      ].join('\n'),
    );
    if (wrong > 0) throw new Error(`${wrong} items are wrong`);
    return {
      ratios: { copy: Number((rowCount / seconds / copied).toFixed(4)) },
      rowsPerSecond: Math.round(rowCount / seconds),
      hubMb: memory,
      rowsPerProcessorSecond: Math.round(rowCount / (used.hub + used.server)),
    };
  } finally {
    await client.end();
    await hub.stop();
  }
}

async function sendAndWait(hub, asOf) {
  const sent = await hub.send(`/v1/reset-sources/bench/files?asOf=${asOf}`, file);
  return ended(hub, `/v1/reset-files/${sent.id}`, (found) => found.state === 'applied');
}

/** What hub and server use from now on; both are this machine's. @returns asked later: seconds of processor since */
async function processorTimes(hub, client) {
  const { rows } = await client.query(`SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::integer AS pid`);
  const now = () => ({ hub: processorTime(hub.pid), server: serverProcessorTime(rows[0].pid) });
  const before = now();
  return () => {
    const after = now();
    return { hub: after.hub - before.hub, server: after.server - before.server };
  };
}

async function prepare(hub) {
  await hub.ask('POST', '/v1/locations', { location: 'MAIN', name: 'Main' });
  const items = await hub.send('/v1/imports?kind=items', async function* () {
    yield 'sku,title\n';
    for (let at = 0; at < rowCount; at += 1_000)
      yield Array.from({ length: Math.min(1_000, rowCount - at) }, (_, i) => `${sku(at + i)},Item ${at + i}\n`).join(
        '',
      );
  });
  await ended(hub, items.statusUrl, (found) => found.state === 'done');
  await hub.ask('POST', '/v1/reset-sources', { id: 'bench', includesOrders: 'all' });
}

async function ended(hub, route, is) {
  for (;;) {
    const found = await hub.ask('GET', route);
    if (is(found)) return found;
    if (['refused', 'held', 'rejected'].includes(found.state)) throw new Error(JSON.stringify(found));
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

async function* file() {
  yield 'facilityId,locationSeqId,idType,idValue,availableQty\n';
  for (let at = 0; at < rowCount; at += 1_000)
    yield Array.from(
      { length: Math.min(1_000, rowCount - at) },
      (_, i) => `MAIN,,SKU,${sku(at + i)},${quantityOf(at + i)}\n`,
    ).join('');
}

async function copyRate(client) {
  await client.query(
    'CREATE TABLE bench_copy (facility text, shelf text, id_type text, id_value text, quantity integer)',
  );
  const started = performance.now();
  const { from: copyFrom } = await import('pg-copy-streams');
  const text = copyFrom('COPY bench_copy FROM STDIN WITH (FORMAT csv, HEADER true)');
  await pipeline(Readable.from(file()), client.query(text));
  const rate = rowCount / ((performance.now() - started) / 1000);
  await client.query('DROP TABLE bench_copy');
  return rate;
}

/** A hundred a second, ten calls of ten; all of them occur after the moment of the file. */
function keepMoving(hub) {
  const moved = new Map();
  const times = [];
  let stopped = false;
  let next = 0;
  const loop = (async () => {
    const began = performance.now();
    for (let round = 0; !stopped; round += 1) {
      const movements = Array.from({ length: 10 }, () => {
        const code = sku((next = (next + 104_729) % rowCount));
        const one = moved.get(code) ?? { delta: 0, times: 0 };
        moved.set(code, { delta: one.delta - 1, times: one.times + 1 });
        return { kind: 'sold', sku: code, location: 'MAIN', quantity: 1 };
      });
      const asked = performance.now();
      await hub.ask('POST', '/v1/movements/batch', { movements });
      times.push(performance.now() - asked);
      const due = began + (round + 1) * (10_000 / perSecond);
      if (due > performance.now()) await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
    }
  })();
  // What fails while a file is sent fails here as well; what is told is why the file failed.
  const done = loop.catch((error) => ({ error }));
  const stop = async () => {
    stopped = true;
    const failed = await done;
    if (failed !== undefined) throw failed.error;
    return { moved, times };
  };
  return { stop };
}

async function caughtUp(client) {
  for (;;) {
    const { rows } = await client.query(
      `SELECT EXISTS (SELECT FROM events e, projection_checkpoints c WHERE c.name = 'main'
          AND (e.generation, e.transaction_id, e.position) > (c.generation, c.transaction_id, c.position)) AS behind`,
    );
    if (!rows[0].behind) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** @returns how many items have another number than the file's with what was sold since */
async function differences(client, moved) {
  const { rows } = await client.query(
    `SELECT sku, on_hand::integer AS "onHand" FROM quantity_on_hand WHERE location = 'MAIN'`,
  );
  const found = new Map(rows.map((row) => [row.sku, row.onHand]));
  let wrong = 0;
  for (let i = 0; i < rowCount; i += 1)
    if (found.get(sku(i)) !== quantityOf(i) + (moved.get(sku(i))?.delta ?? 0)) wrong += 1;
  return wrong;
}
