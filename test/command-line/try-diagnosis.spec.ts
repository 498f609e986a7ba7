import { describe, expect, it } from 'vitest';
import { blockedBefore, diagnose, type Situation } from '../../src/command-line/try-diagnosis.js';
import { hopsOf } from '../../src/command-line/try-watch.js';
import { cartOf, laneOf, projectorOf, recordOf, situationOf } from './given.js';

const now = Date.parse('2026-03-01T12:00:10Z');
const stopped = {
  stream: 'stock:MUG',
  version: '7',
  type: 'StockSold',
  error: 'broken',
  at: '2026-03-01T11:00:00.000Z',
};
const listing = (fields: object) => ({ ...situationOf({}).listing, ...fields }) as Situation['listing'];
const attempt = (fields: object) =>
  [
    {
      startedAt: '2026-03-01T12:00:00.000Z',
      endedAt: null,
      deadline: '2026-03-01T12:00:20.000Z',
      outcome: null,
      response: null,
      ...fields,
    },
  ] as never;
const shows = (quantity: number | null, listed = true) => ({
  kind: 'shows' as const,
  listed,
  quantity,
  readAt: '2026-03-01T12:00:05.000Z',
});

describe('the hop that stands still', () => {
  const cases: [string, Partial<Situation>, string, RegExp][] = [
    [
      'the projector stopped',
      { projector: projectorOf({ stopped }) },
      'on the Web Stack',
      /stopped at StockSold.*onhand projections resume/,
    ],
    [
      'the projector is behind',
      { projector: projectorOf({ lagFacts: 9, lagMs: 30_000 }) },
      'on the Web Stack',
      /9 facts \(30 s\) behind.*role projector/,
    ],
    [
      'somebody holds the horizon',
      { projector: projectorOf({ lagFacts: 1, horizonHeldBy: { pid: 7, application: '', database: 'x', ageMs: 9 } }) },
      'on the Web Stack',
      /held back by a transaction of a program without a name \(process 7/,
    ],
    ['the cart is switched off', { cart: cartOf('off') }, 'on the Web Stack', /Switch it on: onhand carts on shop$/],
    [
      'both switches are off',
      { cart: cartOf('off', 'off') },
      'on the Web Stack',
      /onhand system on; onhand carts on shop$/,
    ],
    ['it is not mapped any more', { listing: null }, 'on the Web Stack', /onhand carts map shop/],
    [
      'it was never compared',
      { listing: listing({ synchronised: false }) },
      'on the Web Stack',
      /onhand carts send-qoh shop/,
    ],
    ['nothing is available', { listing: listing({ target: -2 }) }, 'on the Web Stack', /while nothing is available/],
    ['the rules keep it', {}, 'on the Web Stack', /its target stays 5/],
    [
      'the lane is paused',
      { record: recordOf({}), lane: laneOf({ light: 'red', why: 'Paused by Ann' }) },
      'dispatched',
      /Paused by Ann.*onhand carts resume shop/,
    ],
    [
      'the cart is down',
      {
        record: recordOf({}),
        lane: laneOf({ light: 'amber', why: 'The cart is down: ECONNREFUSED', nextProbeAt: 'T' }),
      },
      'dispatched',
      /ECONNREFUSED.*tried again at T/,
    ],
    [
      'the item is unlisted',
      { record: recordOf({}), listing: listing({ unlisted: 'not-found' }) },
      'dispatched',
      /does not know this item.*redrive shop --key MUG/,
    ],
    [
      'it was switched off meanwhile',
      { record: recordOf({}), cart: cartOf('on', 'off') },
      'dispatched',
      /onhand system on/,
    ],
    ['it may not go yet', { record: recordOf({}), heldBackBy: 'It may go at T.' }, 'dispatched', /It may go at T/],
    [
      'it came back',
      { record: recordOf({ attempts: 2, lastResponse: 'HTTP 429' }) },
      'dispatched',
      /tried 2 times.*HTTP 429/,
    ],
    ['no worker runs', { record: recordOf({}) }, 'dispatched', /role worker/],
    ['the guard holds it', { record: recordOf({ state: 'held' }) }, 'dispatched', /guard/],
    ['no worker begins', { record: recordOf({ state: 'in-flight' }) }, 'attempt', /no worker has begun/],
    [
      'the cart hangs',
      { record: recordOf({ state: 'in-flight', attemptsMade: attempt({}) }) },
      'answered',
      /called 10 s ago.*given up at 2026/,
    ],
    [
      'it is sent again',
      {
        record: recordOf({
          state: 'in-flight',
          attemptsMade: attempt({ endedAt: 'T', outcome: 'unknown', response: 'cut' }),
        }),
      },
      'answered',
      /The 1\. try ended as unknown: cut/,
    ],
    [
      'it is in doubt',
      { record: recordOf({ state: 'in-doubt', lastResponse: 'HTTP 503' }) },
      'answered',
      /HTTP 503.*being settled/,
    ],
    [
      'it is quarantined',
      { record: recordOf({ state: 'quarantined' }) },
      'answered',
      /onhand quarantined resolve shop MUG/,
    ],
    [
      'it is a dead letter',
      { record: recordOf({ state: 'dead-lettered', lastResponse: 'SKU not found' }) },
      'answered',
      /SKU not found.*redrive/,
    ],
    [
      'the cart caches',
      { record: recordOf({ state: 'delivered', lastResponse: 'OK' }), seen: shows(5) },
      'seen at the cart',
      /shows 5 instead of 6.*cache/,
    ],
    [
      'the cart forgot the item',
      { record: recordOf({ state: 'delivered' }), seen: shows(null, false) },
      'seen at the cart',
      /does not list/,
    ],
    [
      'the cart does not track it',
      { record: recordOf({ state: 'delivered' }), seen: shows(null) },
      'seen at the cart',
      /does not track/,
    ],
    [
      'the cart cannot be read',
      { record: recordOf({ state: 'delivered' }), seen: { kind: 'no-answer', why: 'HTTP 500' } },
      'seen at the cart',
      /HTTP 500/,
    ],
    ['it was superseded', { record: recordOf({ state: 'superseded' }) }, 'seen at the cart', /was superseded/],
  ];
  it.each(cases)('is named when %s', (_name, situation, hop, why) => {
    expect(diagnose(situationOf(situation), now)).toEqual({ hop, why: expect.stringMatching(why) });
  });

  it('is known beforehand for what a wait cannot change, and not for a cart that is merely down', () => {
    const blocked = (situation: Partial<Situation>) => blockedBefore(situationOf(situation))?.hop ?? null;
    expect(blocked({})).toBeNull();
    expect(blocked({ lane: laneOf({ light: 'amber' }) })).toBeNull();
    expect(blocked({ projector: null, lane: null })).toBeNull();
    expect(blocked({ projector: projectorOf({ stopped }) })).toBe('on the Web Stack');
    expect(blocked({ cart: cartOf('off') })).toBe('on the Web Stack');
    expect(blocked({ listing: listing({ synchronised: false }) })).toBe('on the Web Stack');
    expect(blocked({ lane: laneOf({ light: 'red' }) })).toBe('dispatched');
    expect(blocked({ lane: laneOf({ light: 'off' }) })).toBe('dispatched');
    expect(blocked({ listing: listing({ unlisted: 'not-tracked' }) })).toBe('dispatched');
  });
});

it('hops stand in the order in which they happened, also when the cart shows it before its answer is here', () => {
  const at = (ms: number) => new Date(now + ms).toISOString();
  const fact = { type: 'StockAdjusted', recordedAt: at(0) };
  expect(hopsOf(fact, null, null, null)).toEqual([{ name: 'recorded', at: at(0), ms: 0, about: 'StockAdjusted' }]);
  const hop = (name: 'recorded' | 'attempt' | 'answered' | 'ended', ms: number) => ({
    name,
    at: at(ms),
    ms: 0,
    about: null,
  });
  const record = { hops: [hop('recorded', 0), hop('attempt', 10), hop('answered', 90), hop('ended', 91)] };
  expect(hopsOf(fact, record, at(50), 6).map(({ name, ms }) => [name, ms])).toEqual([
    ['recorded', 0],
    ['attempt', 10],
    ['seen at the cart', 40],
    ['answered', 40],
  ]);
});
