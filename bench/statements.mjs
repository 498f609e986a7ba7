/** Where PostgreSQL's time goes: pg_stat_statements, which comes with it and has to be loaded at its start. */
import pg from 'pg';

/** Starts the server anew with the statistics loaded. */
export async function watchStatements(server, start) {
  await query(server.url, "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'");
  await server.stop();
  const again = await start();
  await query(again.url, 'CREATE EXTENSION pg_stat_statements');
  return again;
}

/** @returns the most expensive statements of all databases, as lines: total seconds, calls, ms per call, rows, text */
export async function expensiveStatements(url, count) {
  const rows = await query(
    url,
    `SELECT d.datname, round(total_exec_time)::bigint AS ms, calls, mean_exec_time::numeric(10,3) AS mean, rows,
            left(regexp_replace(query, '\\s+', ' ', 'g'), 110) AS text
       FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid ORDER BY total_exec_time DESC LIMIT ${count}`,
  );
  return rows
    .map(({ datname, ms, calls, mean, rows: touched, text }) =>
      [
        `${(ms / 1_000).toFixed(1)} s`.padStart(9),
        String(calls).padStart(7),
        mean.padStart(9),
        String(touched).padStart(9),
        datname,
        text,
      ].join('  '),
    )
    .join('\n');
}

async function query(url, text) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}
