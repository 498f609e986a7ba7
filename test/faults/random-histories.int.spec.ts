import fc from 'fast-check';
import { afterAll, beforeAll, describe, inject, it } from 'vitest';
import { depth } from './depth.js';
import { keptHistories } from './kept-histories.js';
import { openTradingFloor, type TradingFloor } from './trading-floor.js';
import { tradingDay } from './trading-steps.js';

const daysOfShortForm = 5;
const daysPerFloor = 40;
const dayTimeoutMs = 180_000;

/** Trading days that nobody planned, at a cart of every way of delivering, compared with a model after each quiet moment. */
describe('random histories', () => {
  let floor: TradingFloor;
  let opened = 0;
  /** In turns a projector that follows fact by fact, and one that goes by item, as when it is far behind. */
  const open = () => {
    const redisUrl = inject('redisUrl');
    const backend = redisUrl === '' ? 'postgres' : { redisUrl };
    const farBehindFacts = (depth.seed + opened) % 2 === 0 ? 2_000 : 0;
    opened += 1;
    return openTradingFloor(backend, keptHistories.length + daysPerFloor, farBehindFacts);
  };

  beforeAll(async () => {
    console.log(`random histories: seed ${depth.seed}`);
    floor = await open();
  });
  afterAll(() => floor.close());

  for (const { broke, steps } of keptHistories) it(`once ${broke}`, () => floor.live(steps), dayTimeoutMs);

  it(
    'ends with the stock that the model has, at the hub and in every shop',
    async () => {
      const end = Date.now() + depth.minutes * 60_000;
      let seed = depth.seed;
      do {
        await fc.assert(
          fc.asyncProperty(tradingDay, (steps) => floor.live(steps)),
          { seed, numRuns: daysOfShortForm, endOnFailure: true },
        );
        seed += 1;
        if ((seed - depth.seed) % (daysPerFloor / daysOfShortForm) === 0) {
          await floor.close();
          floor = await open();
        }
      } while (Date.now() < end);
    },
    dayTimeoutMs + depth.minutes * 60_000 + daysOfShortForm * dayTimeoutMs,
  );
});
