/** Whether another attempt may succeed: another order of locking (a migration, a person at the console) ended in a deadlock. */
export const isTransient = (error: unknown) => ['40001', '40P01'].includes(sqlState(error) ?? '');

/** The code of an answer of the server; undefined for what it did not say itself, such as a broken connection. */
export function sqlState(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}
