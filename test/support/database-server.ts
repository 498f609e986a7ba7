import pg from 'pg';

/** The server's URL with another database in it. */
export function withDatabase(serverUrl: string, name: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.toString();
}

/** One statement on the server itself, as CREATE DATABASE and its like need it: alone and outside a transaction. */
export async function onServer(serverUrl: string, statement: string): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: serverUrl });
  await client.connect();
  try {
    return await client.query(statement);
  } finally {
    await client.end();
  }
}

/** Whatever the run left, template included; matters on a server that outlives the run. */
export async function dropTestDatabases(serverUrl: string, prefix: string): Promise<void> {
  const { rows } = await onServer(serverUrl, `SELECT datname FROM pg_database WHERE starts_with(datname, '${prefix}')`);
  for (const row of rows) await onServer(serverUrl, `DROP DATABASE IF EXISTS ${row.datname} WITH (FORCE)`);
}
