import type { Database } from '../database.js';
import type { Claim } from './claim.js';
import type { AttemptEnd } from './outcome.js';
import { probeDelayMs } from './retry-policy.js';

/**
 * What a try at a cart that is down says of its lane. A resend looks at the cart as a probe does, so its failures make
 * the pauses grow too; where the cart said how long to leave it alone, that is how long.
 */
export async function downFor(
  database: Database,
  claimed: Pick<Claim, 'cartId' | 'probe' | 'ambiguous' | 'purpose'>,
  random: number,
  pauseMsMin = 0,
): Promise<Pick<AttemptEnd, 'cart' | 'probe' | 'probeInMs'>> {
  const found = await database.pool.query<{ probes: number }>('SELECT probes FROM lanes WHERE cart_id = $1', [
    claimed.cartId,
  ]);
  return {
    cart: 'down',
    probe: claimed.probe || claimed.ambiguous || claimed.purpose === 'settle',
    probeInMs: Math.max(pauseMsMin, probeDelayMs(found.rows[0]?.probes ?? 0, random)),
  };
}
