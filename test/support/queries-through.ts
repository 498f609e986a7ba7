import type { Pool } from 'pg';

export interface SentQuery {
  /** Of a prepared statement. */
  readonly name?: string | undefined;
  readonly text: string;
  readonly values: readonly unknown[];
}

/**
 * A pool whose queries, its own and those of the connections that it lends, go through `ask`: to be looked at, kept back or
 * answered otherwise. `ask` has to call `send` before it waits for anything, or queries that were sent together are not.
 */
export function queriesThrough(pool: Pool, ask: (query: SentQuery, send: () => Promise<unknown>) => unknown): Pool {
  const through = <T extends object>(of: T): T =>
    new Proxy(of, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        if (name === 'connect') return async () => through((await value.call(target)) as object);
        if (name !== 'query') return value.bind(target) as unknown;
        return (query: string | { name?: string; text: string; values?: unknown[] }, values?: unknown[]) => {
          const given = typeof query === 'string' ? { text: query } : query;
          return ask({ ...given, values: values ?? given.values ?? [] }, () =>
            values === undefined ? value.call(target, query) : value.call(target, query, values),
          );
        };
      },
    });
  return through(pool);
}
