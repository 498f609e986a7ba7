import type { LaneStatus } from '../cart-workers/lane-control.js';
import type { ProjectorStatus } from '../projections/projector-status.js';
import type { Cart } from './cart-table.js';
import { formatDuration, formatNumber } from './format.js';
import { holderOf } from './projections.js';
import type { Item } from './stock.js';
import type { StackRecord } from './web-stack.js';

/** What the cart itself was seen to show. */
export type Seen =
  | { readonly kind: 'shows'; readonly listed: boolean; readonly quantity: number | null; readonly readAt: string }
  | { readonly kind: 'no-answer'; readonly why: string };

/** Everything that is known of a change that does not arrive. Null: not known, because the hub did not say. */
export interface Situation {
  readonly cart: Cart;
  readonly key: string;
  readonly wanted: number | null;
  readonly record: StackRecord | null;
  readonly projector: ProjectorStatus | null;
  readonly lane: LaneStatus | null;
  readonly listing: Item['listings'][number] | null;
  readonly heldBackBy: string | null;
  readonly seen: Seen | null;
}

/** The hop that stands still, why, and what mends it. */
export interface StandsStill {
  readonly hop: 'recorded' | 'on the Web Stack' | 'dispatched' | 'attempt' | 'answered' | 'seen at the cart';
  readonly why: string;
}

/** Pure. Follows the change hop by hop and stops at the first one that it has not passed. */
export function diagnose(situation: Situation, now: number): StandsStill {
  const { record } = situation;
  if (record === null) return { hop: 'on the Web Stack', why: whyNoRecord(situation) };
  const { id } = situation.cart;
  switch (record.state) {
    case 'waiting':
      return { hop: 'dispatched', why: whyWaiting(situation, record) };
    case 'held':
      return {
        hop: 'dispatched',
        why: 'It is held by the guard, because too much would change at once; a person releases it.',
      };
    case 'in-flight':
      return whyInFlight(situation, record, now);
    case 'in-doubt': {
      const settled =
        situation.heldBackBy ?? 'Nobody knows whether it was applied; that is being settled by looking at the cart.';
      return { hop: 'answered', why: `The cart's last response: ${said(record)}. ${settled}` };
    }
    case 'quarantined':
      return {
        hop: 'answered',
        why: `Nobody can tell whether the cart applied it: ${said(record)}. Look at the cart, then: onhand quarantined resolve ${id} ${situation.key} was-applied (or was-not-applied).`,
      };
    case 'dead-lettered':
      return {
        hop: 'answered',
        why: `The cart refused it for good: ${said(record)}. Mend that, then: onhand dead-letters redrive ${id} --key ${situation.key}`,
      };
    case 'delivered':
    case 'netted':
    case 'superseded':
    case 'discarded':
      return { hop: 'seen at the cart', why: whyNotSeen(situation, record) };
  }
}

/**
 * What certainly keeps a change from arriving, known before one is made. Null: nothing known stands in its way.
 * A cart that is merely down is not among it: it may be back any moment.
 */
export function blockedBefore(situation: Situation): StandsStill | null {
  const { projector, lane, listing, cart } = situation;
  if (projector?.stopped) return { hop: 'on the Web Stack', why: whyNoRecord(situation) };
  if (listing === null || !cart.switches.inEffect || !listing.synchronised) {
    return { hop: 'on the Web Stack', why: whyNoRecord(situation) };
  }
  if (listing.unlisted !== null) return { hop: 'dispatched', why: unlistedSentence(situation, listing.unlisted) };
  if (lane?.light === 'red' || lane?.light === 'off') return { hop: 'dispatched', why: laneSentence(lane) };
  return null;
}

function whyNoRecord({ projector, cart, listing, key }: Situation): string {
  if (projector === null) return 'The hub does not say how far its projector is.';
  if (projector.stopped !== null) {
    const { type, stream, error } = projector.stopped;
    return `The projector stopped at ${type} (${stream}): ${error}. Mend that, then: onhand projections resume`;
  }
  if (projector.lagFacts > 0) {
    const held =
      projector.horizonHeldBy === null
        ? 'Is a process with the role projector running?'
        : `It is held back by ${holderOf(projector.horizonHeldBy)}.`;
    return `The projector is ${formatNumber(projector.lagFacts)} facts (${formatDuration(projector.lagMs)}) behind. ${held}`;
  }
  if (!cart.switches.inEffect) {
    const mend = [
      cart.switches.systemSwitch === 'off' ? 'onhand system on' : null,
      cart.switches.cartSwitch === 'off' ? `onhand carts on ${cart.id}` : null,
    ].filter((command) => command !== null);
    return `${cart.switches.why} Switch it on: ${mend.join('; ')}`;
  }
  if (listing === null) return `The cart lists no "${key}" any more; map it: onhand carts map ${cart.id}`;
  if (!listing.synchronised) {
    return `The listing was not compared since the cart was switched on; make both sides equal first: onhand carts send-qoh ${cart.id}`;
  }
  if ((listing.target ?? 0) <= 0) {
    return `The cart should show ${listing.target ?? 0}: while nothing is available, no increase is sent. Try it with an item that is in stock.`;
  }
  return `No record was made of it: by the cart's rules its target stays ${listing.target}.`;
}

function whyWaiting(situation: Situation, record: StackRecord): string {
  const { lane, cart, heldBackBy, listing } = situation;
  if (!cart.switches.inEffect) return whyNoRecord(situation);
  if (listing !== null && listing.unlisted !== null) return unlistedSentence(situation, listing.unlisted);
  if (lane !== null && lane.light !== 'green') return laneSentence(lane);
  if (heldBackBy !== null) return heldBackBy;
  if (record.attempts > 0)
    return `It was tried ${record.attempts} times; the cart last said: ${said(record)}. Look at the cart: onhand carts test ${cart.id}`;
  return 'Nothing holds it back, yet no worker takes it. Is a process with the role worker running, and does Redis answer?';
}

function laneSentence(lane: LaneStatus): string {
  switch (lane.light) {
    case 'red':
      return `The lane is paused: ${lane.why ?? 'nobody said why'}. Go on with: onhand carts resume ${lane.cartId}`;
    case 'amber': {
      const since = lane.downSince === null ? '' : ` since ${lane.downSince}`;
      const next = lane.nextProbeAt === null ? '' : ` It is tried again at ${lane.nextProbeAt}.`;
      return `The lane is amber${since}: ${lane.why ?? 'the cart does not answer'}.${next} Look at the cart: onhand carts test ${lane.cartId}`;
    }
    case 'off':
    case 'green':
      return `${lane.why ?? 'The lane is green'}.`;
  }
}

function unlistedSentence({ cart, key }: Situation, unlisted: string): string {
  const what = unlisted === 'not-found' ? 'does not know this item' : 'does not track this item';
  return `The cart ${what}; nothing is sent until somebody looks again: onhand dead-letters redrive ${cart.id} --key ${key}`;
}

function whyInFlight({ cart, lane }: Situation, record: StackRecord, now: number): StandsStill {
  const attempt = record.attemptsMade.at(-1);
  if (attempt === undefined) {
    return {
      hop: 'attempt',
      why: 'It is dispatched, and no worker has begun. Is a process with the role worker running, and does Redis answer?',
    };
  }
  if (attempt.endedAt === null) {
    const since = formatDuration(now - Date.parse(attempt.startedAt));
    return {
      hop: 'answered',
      why: `The cart was called ${since} ago and has not answered; the call is given up at ${attempt.deadline}.${beforeThat({ cart, lane }, record)}`,
    };
  }
  const next = record.delivery?.nextAttemptAt ?? null;
  const again = next === null ? 'It is sent again soon.' : `It is sent again at ${next}.`;
  const tried = `The ${record.attemptsMade.length}. try ended as ${attempt.outcome ?? 'unknown'}: ${attempt.response ?? said(record)}.`;
  const lookAt = lane?.light === 'amber' ? laneSentence(lane) : `Look at the cart: onhand carts test ${cart.id}`;
  return { hop: 'answered', why: `${tried} ${again} ${lookAt}` };
}

/** A cart that is down is called again and again; one call that is under way says less than those that have failed. */
function beforeThat({ cart, lane }: Pick<Situation, 'cart' | 'lane'>, record: StackRecord): string {
  const failed = record.attemptsMade.findLast((attempt) => attempt.endedAt !== null && attempt.outcome !== 'read');
  if (failed === undefined) return '';
  const lookAt = lane?.light === 'amber' ? laneSentence(lane) : `Look at the cart: onhand carts test ${cart.id}`;
  return ` The call before it ended as ${failed.outcome ?? 'unknown'}: ${failed.response ?? said(record)}. ${lookAt}`;
}

function whyNotSeen({ seen, wanted, cart }: Situation, record: StackRecord): string {
  if (record.state !== 'delivered') return `The change was ${record.state}, so the cart was not told of it by itself.`;
  const took = `The cart answered that it took it (${said(record)})`;
  if (seen === null || seen.kind === 'no-answer')
    return `${took}, but cannot be asked what it shows: ${seen?.why ?? 'it did not answer yet'}.`;
  if (!seen.listed) return `${took}, but does not list the item when asked.`;
  if (seen.quantity === null) return `${took}, but does not track the item's stock, so it shows no number.`;
  return `${took}, but shows ${seen.quantity} instead of ${wanted ?? 'what it should'}. Does it cache, or did somebody change it there? Compare: onhand carts send-qoh ${cart.id}`;
}

const said = (record: StackRecord) => record.lastResponse ?? 'no response is known';
