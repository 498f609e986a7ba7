/**
 * A file of a million movements through the API of a hub with all roles, while single commands come in as well: how fast it
 * is received, checked and applied, what the hub's memory and the database grow to, what it does to the single commands and
 * to how far the projector is behind. The baseline is the same single commands before the import, and for the rate the
 * goal itself: 10,000 rows applied a second.
 */
import path from 'node:path';
import pg from 'pg';
import { startHub } from './hub.mjs';
import { residentMb } from './memory.mjs';
import { quantile } from './numbers.mjs';

const rowsPerSecondGoal = 10_000;
const skuCount = 10_000;
const rowCount = Number(process.env.BENCH_ROWS ?? 1_000_000);
const kinds = (process.env.BENCH_KINDS ?? 'movements').split(',');

export async function run({ databaseUrl, dataDir, log }) {
  const hub = await startHub({ databaseUrl, dataDir: path.join(dataDir, 'hub') });
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await prepare(hub);
    const ratios = {};
    for (const kind of kinds) ratios[kind] = await importOne(hub, client, kind, log);
    return { ratios, bars: Object.fromEntries(kinds.map((kind) => [kind, 1])) };
  } finally {
    await client.end();
    await hub.stop();
  }
}

/** @returns rows applied a second, as a share of the goal */
async function importOne(hub, client, kind, log) {
  const alone = await singleCommands(hub, 3_000);
  const watch = watchHub(hub, client);
  let busy = true;
  const beside = singleCommands(hub, Infinity, () => !busy);
  const started = performance.now();
  const sent = await hub.send(`/v1/imports?kind=${kind}`, rows[kind]);
  const receivedS = secondsSince(started);
  const times = {};
  let found = await hub.ask('GET', sent.statusUrl);
  while (!['done', 'refused', 'cancelled'].includes(found.state)) {
    times[found.state] ??= secondsSince(started);
    await new Promise((resolve) => setTimeout(resolve, 250));
    found = await hub.ask('GET', sent.statusUrl);
  }
  const doneS = secondsSince(started);
  busy = false;
  const single = await beside;
  const seen = await watch.stop();
  if (found.state !== 'done' || found.rows.applied !== rowCount) throw new Error(JSON.stringify(found));
  const downloaded = await download(hub, found.rowsUrl);
  const rate = rowCount / ((Date.parse(found.endedAt) - Date.parse(found.applyStartedAt)) / 1000);
  log(
    [
      `bulk-import ${kind}: ${rowCount} rows received in ${receivedS.toFixed(0)} s, checked after ${(times.applying ?? doneS).toFixed(0)} s, done after ${doneS.toFixed(0)} s: ${rate.toFixed(0)} rows/s applied`,
      `  hub ${seen.startMb} MB before, ${seen.maxMb} MB at most; database ${seen.databaseMb} MB; projector behind ${quantile(seen.lagsMs, 0.5).toFixed(0)} ms (median), ${Math.max(...seen.lagsMs).toFixed(0)} ms at most; longest transaction that wrote ${Math.max(...seen.transactionsMs).toFixed(0)} ms`,
      `  single commands beside it: p50 ${quantile(single, 0.5).toFixed(0)} ms, p99 ${quantile(single, 0.99).toFixed(0)} ms; alone: p50 ${quantile(alone, 0.5).toFixed(0)} ms, p99 ${quantile(alone, 0.99).toFixed(0)} ms`,
      `  rows.csv: ${downloaded.megabytes.toFixed(0)} MB in ${downloaded.seconds.toFixed(0)} s`,
    ].join('\n'),
  );
  return Number((rate / rowsPerSecondGoal).toFixed(2));
}

const secondsSince = (start) => (performance.now() - start) / 1000;

const sku = (i) => `BULK-${i % skuCount}`;
const rows = {
  movements: () =>
    lines('kind,sku,location,quantity,reason', (i) => `received,${sku(i * 7)},MAIN,1,delivery ${i % 97}`),
  counts: () => lines('sku,location,quantity', (i) => `${sku(i)},MAIN,${i % 50}`),
  items: () => lines('sku,title', (i) => `NEW-${i},Item number ${i}`),
};

async function* lines(header, line) {
  yield `${header}\n`;
  for (let at = 0; at < rowCount; at += 1_000) {
    yield Array.from({ length: Math.min(1_000, rowCount - at) }, (_, i) => `${line(at + i)}\n`).join('');
  }
}

async function prepare(hub) {
  await hub.ask('POST', '/v1/locations', { location: 'MAIN', name: 'Main' });
  for (let at = 0; at < skuCount; at += 500) {
    const items = Array.from({ length: 500 }, (_, i) => ({ sku: sku(at + i), title: sku(at + i) }));
    await hub.ask('POST', '/v1/items/batch', { items });
  }
}

/** Five a second, as a shop floor would. @returns how long each took, in ms */
async function singleCommands(hub, ms, ended = () => false) {
  const start = performance.now();
  const times = [];
  while (performance.now() - start < ms && !ended()) {
    const asked = performance.now();
    await hub.ask('POST', '/v1/movements', { kind: 'received', sku: sku(asked | 0), location: 'MAIN', quantity: 1 });
    times.push(performance.now() - asked);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return times;
}

/** Looks twice a second at what must stay small. */
function watchHub(hub, client) {
  const startMb = residentMb(hub.pid);
  const seen = { startMb, maxMb: startMb, lagsMs: [0], transactionsMs: [0] };
  let stopped = false;
  const watching = (async () => {
    while (!stopped) {
      seen.maxMb = Math.max(seen.maxMb, residentMb(hub.pid));
      const { rows: found } = await client.query(
        `SELECT (SELECT extract(epoch FROM clock_timestamp() - min(e.recorded_at)) * 1000
                   FROM projection_checkpoints c CROSS JOIN LATERAL (
                        SELECT recorded_at FROM events e
                         WHERE (e.generation, e.transaction_id, e.position) > (c.generation, c.transaction_id, c.position)
                         ORDER BY e.generation, e.transaction_id, e.position LIMIT 1) e
                  WHERE c.name = 'main') AS lag_ms,
                (SELECT max(extract(epoch FROM clock_timestamp() - xact_start) * 1000)
                   FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND backend_type = 'client backend') AS transaction_ms`,
      );
      seen.lagsMs.push(Number(found[0].lag_ms ?? 0));
      seen.transactionsMs.push(Number(found[0].transaction_ms ?? 0));
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  })();
  const stop = async () => {
    stopped = true;
    await watching;
    const { rows: size } = await client.query('SELECT pg_database_size(current_database()) AS bytes');
    return { ...seen, databaseMb: Math.round(Number(size[0].bytes) / 2 ** 20) };
  };
  return { stop };
}

async function download(hub, route) {
  const start = performance.now();
  const response = await fetch(hub.url + route, { headers: { authorization: `Bearer ${hub.key}` } });
  let bytes = 0;
  for await (const chunk of response.body) bytes += chunk.byteLength;
  return { megabytes: bytes / 2 ** 20, seconds: secondsSince(start) };
}
