import { inTransaction, type Database } from '../database.js';
import { steadyNow } from '../steady-clock.js';
import { lockController } from './dispatch.js';

/** A hold ends by itself this long after whoever took it stopped renewing it. */
const holdSeconds = 60;
const waitMsMax = 90_000;
const pollMs = 50;

export interface LaneHold {
  release(): Promise<void>;
}

/**
 * While a cart is read for a comparison nothing new is sent to it. One holder at a time: a second comparison waits, since
 * the end of the first would otherwise open the lane under it. Renewed while we live, so that it ends by itself if we do not.
 *
 * Taken under the controller's lock, so that a dispatch that saw the lane open has committed what it sent.
 * @throws Error when somebody else holds the lane for longer than a minute and a half
 */
export async function holdLane(database: Database, cartId: string): Promise<LaneHold> {
  const end = steadyNow() + waitMsMax;
  let until = await take(database, cartId, null);
  while (until === null) {
    if (steadyNow() > end) throw new Error('Another comparison of this cart is under way; ask again when it has ended');
    await new Promise((resolve) => setTimeout(resolve, pollMs));
    until = await take(database, cartId, null);
  }
  let held = until;
  let renewing: Promise<void> = Promise.resolve();
  const renew = async () => {
    // A renewal that fails is tried again long before the hold runs out.
    held = (await take(database, cartId, held).catch(() => null)) ?? held;
  };
  const timer = setInterval(
    () => {
      renewing = renew();
    },
    (holdSeconds / 3) * 1000,
  );
  return {
    release: async () => {
      clearInterval(timer);
      await renewing;
      await database.pool.query('UPDATE lanes SET comparing_until = NULL WHERE cart_id = $1 AND comparing_until = $2', [
        cartId,
        held,
      ]);
    },
  };
}

/** @param mine what the hold was taken or renewed until; null: taken anew. @returns until when, null if another holds it */
async function take(database: Database, cartId: string, mine: Date | null): Promise<Date | null> {
  return inTransaction(database, async (client) => {
    await lockController(client, cartId);
    const held = await client.query<{ comparing_until: Date }>(
      `INSERT INTO lanes AS l (cart_id, comparing_until)
       VALUES ($1, date_trunc('milliseconds', clock_timestamp()) + $2 * interval '1 second')
       ON CONFLICT (cart_id) DO UPDATE SET comparing_until = excluded.comparing_until
        WHERE l.comparing_until IS NULL OR l.comparing_until <= clock_timestamp() OR l.comparing_until = $3
       RETURNING comparing_until`,
      [cartId, holdSeconds, mine],
    );
    return held.rows[0]?.comparing_until ?? null;
  });
}
