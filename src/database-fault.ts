/**
 * A fault of what surrounds a statement, not of the statement itself: the same one may well succeed later. PostgreSQL's
 * classes for connection, resources (a full disk, too many connections), operator intervention (a shutdown, a time-out),
 * system, roll-back (deadlock, serialization), locks and transaction state; and everything that is no answer of its at all.
 */
export function isOfTheSurroundings(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = databaseCode(error);
  if (code === undefined) {
    // A connection that is refused at several addresses is one error of many.
    if (error instanceof AggregateError && error.errors.some(isOfTheSurroundings)) return true;
    return noCode.test(error.message) || isOfTheSurroundings(error.cause);
  }
  return sockets.test(code) || classes.has(code.slice(0, 2));
}

/** @returns the code of PostgreSQL (five characters) or of the socket; what drizzle throws has it one level below */
export function databaseCode(error: Error): string | undefined {
  const own = 'code' in error ? error.code : undefined;
  if (typeof own === 'string') return own;
  return error.cause instanceof Error ? databaseCode(error.cause) : undefined;
}

const classes = new Set(['08', '53', '57', '58', '40', '55', '25']);
/** Codes of the system (ECONNRESET, EPIPE, ENOTFOUND, …); Node's own, ERR_…, say that an argument is wrong. */
const sockets = /^E(?!RR_)[A-Z_]+$/;
/** What pg and its pool say where they have no code. */
const noCode = /connection|timeout|terminated/i;
