import { Inject, Injectable } from '@nestjs/common';
import type { PoolClient } from 'pg';
import { recordsKeptDays } from '../../cart-workers/clean-up.js';
import type { Database } from '../../database.js';
import { evaluate, type Shown, type Step } from '../../projections/availability/evaluate.js';
import { PastStates, type ListingState, type StateOfSku } from '../../projections/availability/state-at.js';
import { stateNow, type ListingNow } from '../../projections/availability/state-now.js';
import { LedgerReads } from '../inventory/ledger-reads.js';
import { DATABASE } from '../tokens.js';
import { explanationSentence } from './explanation-sentence.js';
import { lanesOf, refusedFlags, type Lane } from './lane-obstacles.js';
import { recordsOf, type ToldListing } from './listing-records.js';

export interface ExplainedListing {
  readonly cartId: string;
  readonly cartName: string;
  readonly key: string;
  readonly sentence: string;
  /** What the cart is known to show; null: nobody knows, or what was owed then is no longer kept. */
  readonly shows: number | null;
  readonly owed: number | null;
  readonly target: number;
  readonly expected: number | null;
  readonly available: number;
  readonly flag: Shown | null;
  /** What of it the cart confirmed; null: nothing yet, or a moment in the past. */
  readonly flagTold: Shown | null;
  readonly withheld: boolean;
  readonly inEffect: boolean;
  readonly steps: readonly Step[];
  readonly records: ToldListing['records'];
  readonly lastAnswer: ToldListing['lastAnswer'];
}

/** Why every cart shows what it shows of an item, now or at any moment. */
@Injectable()
export class Explanations {
  private readonly past = new PastStates();

  constructor(
    @Inject(DATABASE) private readonly database: Database,
    private readonly ledger: LedgerReads,
  ) {}

  /** @param query.at null: now, as the projector has applied it */
  async of(sku: string, query: { cart: string | null; at: Date | null; movements: number }) {
    const { cart, at } = query;
    const { state, carts } = await this.inSnapshot(async (client) => {
      const told = await recordsOf(client, sku, cart, at);
      if (at === null) {
        const now = await stateNow(client, sku, cart);
        const lanes = await lanesOf(client, sku, now.listings);
        const refused = await refusedFlags(client, sku);
        const explained = now.listings.map((listing) =>
          explainNow(listing, now, told.get(nameOf(listing)), lanes.get(listing.cartId), refused.get(nameOf(listing))),
        );
        return { state: now, carts: explained };
      }
      const then = await this.past.of(client, sku, at, cart);
      const kept = at.getTime() >= Date.now() - recordsKeptDays * dayMs;
      return { state: then, carts: then.listings.map((one) => explainThen(one, then, kept, told.get(nameOf(one)))) };
    });
    const { lastMovement, rulesVersion, calendar, leftOut } = state;
    const movements =
      lastMovement === null
        ? { data: [], nextCursor: null }
        : await this.ledger.last(sku, { upTo: lastMovement, limit: query.movements });
    return {
      sku,
      at: at?.toISOString() ?? null,
      rulesVersion,
      closedDay: calendar.day,
      carts,
      movements,
      leftOut: [...leftOut, ...(at === null ? [] : forgotten(at))],
    };
  }

  private async inSnapshot<T>(read: (client: PoolClient) => Promise<T>): Promise<T> {
    const client = await this.database.pool.connect();
    try {
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      return await read(client);
    } finally {
      await client.query('ROLLBACK').catch(() => undefined);
      client.release();
    }
  }
}

const dayMs = 86_400_000;
const nameOf = ({ cartId, key }: Pick<ListingState, 'cartId' | 'key'>) => `${cartId}/${key}`;

const forgotten = (at: Date) =>
  at.getTime() >= Date.now() - recordsKeptDays * dayMs
    ? []
    : [
        `Records are kept for ${recordsKeptDays} days after they ended, so what was owed to carts at that moment is not known any more. The numbers themselves are worked out from the log.`,
      ];

function explainThen(
  listing: ListingState,
  { book, calendar }: StateOfSku,
  kept: boolean,
  told: ToldListing | undefined,
): ExplainedListing {
  const steps: Step[] = [];
  const { target, available, shown, withheld } = evaluate(listing.facts, book, calendar, steps);
  const inEffect = listing.inStep && listing.cartOn && listing.systemOn;
  const owed = kept && inEffect ? (told?.owed ?? 0) : null;
  const shows = owed === null ? null : target - owed;
  const obstacles = switchedOff(listing, 'past');
  const { cartId, cartName, key } = listing;
  const sentence = explanationSentence({ cartName, target, shows, owed, steps, past: true, obstacles });
  const expected = inEffect ? target : null;
  const { records = [], lastAnswer = null } = told ?? {};
  return {
    cartId,
    cartName,
    key,
    sentence,
    shows,
    owed,
    target,
    expected,
    available,
    flag: shown,
    flagTold: null,
    withheld,
    inEffect,
    steps,
    records,
    lastAnswer,
  };
}

function explainNow(
  listing: ListingNow,
  { book, calendar }: StateOfSku,
  told: ToldListing | undefined,
  lane: Lane | undefined,
  flagRefused: string | undefined,
): ExplainedListing {
  const steps: Step[] = [];
  const { target, available, shown, withheld } = evaluate(listing.facts, book, calendar, steps);
  const inEffect = listing.inStep && listing.cartOn && listing.systemOn;
  const owed = told?.owed ?? 0;
  const shows = listing.expected === null ? null : listing.expected - owed;
  const waiting = (told?.records ?? []).filter(({ waitedThen }) => waitedThen);
  const obstacles = [
    ...switchedOff(listing, 'now'),
    ...obstaclesNow(listing, waiting, owed, inEffect ? lane : undefined),
    ...(inEffect ? flagWords(listing, shown, lane, flagRefused) : []),
  ];
  const { cartId, cartName, key, expected } = listing;
  const sentence = explanationSentence({ cartName, target, shows, owed, steps, past: false, obstacles });
  const { records = [], lastAnswer = null } = told ?? {};
  return {
    cartId,
    cartName,
    key,
    sentence,
    shows,
    owed,
    target,
    expected,
    available,
    flag: shown,
    flagTold: listing.flagTold,
    withheld,
    inEffect,
    steps,
    records,
    lastAnswer,
  };
}

function switchedOff({ systemOn, cartOn, inStep, cartName }: ListingState, when: 'past' | 'now'): string[] {
  const is = when === 'past' ? 'was' : 'is';
  if (!systemOn) return [`Nothing ${is} sent: the system switch ${is} off.`];
  if (!cartOn) return [`Nothing ${is} sent: the switch of ${cartName} ${is} off.`];
  if (!inStep)
    return [
      `Nothing ${is} sent: it ${when === 'past' ? 'had' : 'has'} not been compared since ${cartName} was switched on.`,
    ];
  return [];
}

/** What a person has to know beside the number: it is on its way, held up, or not possible. */
function obstaclesNow(
  { unlisted, recomputing, cartName }: ListingNow,
  waiting: ToldListing['records'],
  owed: number,
  lane: Lane | undefined,
): string[] {
  const said: string[] = [];
  if (unlisted === 'not-found') said.push(`${cartName} does not list this item.`);
  if (unlisted === 'not-tracked') said.push(`${cartName} does not track the stock of this item.`);
  const of = (state: string) => waiting.find((record) => record.state === state);
  const dead = of('dead-lettered');
  if (dead !== undefined && unlisted === null)
    said.push(`A change was refused for good: ${dead.lastResponse ?? 'no answer'}.`);
  if (of('quarantined') !== undefined)
    said.push('A change is quarantined: a person has to say whether it was applied.');
  if (of('in-doubt') !== undefined)
    said.push('Nobody knows yet whether the last change was applied; it is being looked up.');
  if (of('held') !== undefined) said.push('A change is held back by the guard.');
  const held = lane?.obstacle ?? null;
  if (owed !== 0 && held !== null) said.push(held);
  if (recomputing) said.push('A change of rules or settings is still on its way to this listing.');
  return said;
}

/** What a rule asks for beside the number, and the cart has not, or cannot. */
function flagWords(
  { cartName, flagTold }: ListingNow,
  wanted: Shown | null,
  lane: Lane | undefined,
  refused: string | undefined,
): string[] {
  if (wanted === null || wanted === flagTold || lane === undefined) return [];
  if (refused !== undefined) {
    const what = wanted === 'hidden' ? 'to hide it' : wanted === 'visible' ? 'to show it' : 'back-orders of it';
    return [`${cartName} refuses ${what} (${refused}); it is asked again once an hour.`];
  }
  if (wanted === 'hidden')
    return lane.flags.includes('hide') ? ['It is not hidden there yet.'] : [`${cartName} cannot hide items.`];
  if (wanted === 'backorder' && !lane.flags.includes('backorder')) return [`${cartName} cannot mark back-orders.`];
  return lane.flags.length === 0
    ? []
    : [`${cartName} has not confirmed yet that it is ${wanted === 'visible' ? 'visible' : 'open to back-orders'}.`];
}
