import { customType, timestamp } from 'drizzle-orm/pg-core';

/** Column types that tables share. */

/** Text in byte order: what is locked, ordered or paged by must sort alike in every cluster and in JavaScript. */
export const code = customType<{ data: string }>({ dataType: () => 'text COLLATE "C"' });
/** A transaction id that never wraps; compared with `<`, read as text. */
export const xid8 = customType<{ data: string }>({ dataType: () => 'xid8' });
export const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' });
/** A moment, to the millisecond, as JavaScript can hold it. */
export const time = (name: string) => timestamp(name, { withTimezone: true, precision: 3 });
