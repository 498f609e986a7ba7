import { getNextMillis, Queue } from 'bullmq';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { getQueueToken } from '@nestjs/bullmq';
import { KeptSchedules, type KeptSchedule } from '../../src/modules/jobs/kept-schedules.js';
import { IMPORTS } from '../../src/modules/imports/import-jobs.js';
import { CLEAN_UP } from '../../src/modules/jobs/queue-names.js';
import { RESETS } from '../../src/modules/daily-reset/reset-jobs.js';
import { startHubUnderTest, type HubUnderTest } from '../api/hub-under-test.js';
import { until } from '../support/until.js';
import { addSource } from './given.js';

let hub: HubUnderTest;
let queue: Queue;
beforeAll(async () => {
  hub = await startHubUnderTest();
  queue = hub.hub.app.get<Queue>(getQueueToken(CLEAN_UP));
});
afterAll(() => hub.close());

const every = (minutes: number): KeptSchedule => ({ every: minutes * 60_000, name: 'look', data: {}, opts: {} });
const daily: KeptSchedule = { pattern: '0 4 * * *', tz: 'Europe/Berlin', name: 'look', data: {}, opts: {} };
const present = async () =>
  new Map(
    (await queue.getJobSchedulers(0, 100)).map(({ key, pattern, tz, every: ms }) => [
      key,
      pattern ? `${pattern} ${tz}` : Number(ms),
    ]),
  );

/** The queue, how often it was asked what it has, and what was set in it. */
function counted() {
  let asked = 0;
  const set: string[] = [];
  const proxy = new Proxy(queue, {
    get(target, name) {
      if (name === 'getJobSchedulers') asked += 1;
      const value: unknown = Reflect.get(target, name);
      if (name === 'upsertJobScheduler')
        return (key: string, ...rest: unknown[]) => {
          set.push(key);
          return Reflect.apply(value as () => unknown, target, [key, ...rest]);
        };
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  return { proxy, set, asked: () => asked };
}

describe('schedules of a queue', () => {
  it('are set at once when they change, and what is not wanted any more is removed', async () => {
    const schedules = new KeptSchedules(queue);
    await schedules.keep(
      new Map([
        ['a', every(5)],
        ['b', daily],
      ]),
    );
    expect(await present()).toEqual(
      new Map<string, unknown>([
        ['a', 300_000],
        ['b', '0 4 * * * Europe/Berlin'],
      ]),
    );
    await schedules.keep(new Map([['a', every(10)]]));
    expect(await present()).toEqual(new Map([['a', 600_000]]));
    await schedules.keep(new Map());
    expect(await present()).toEqual(new Map());
  });

  it('are remembered: the queue is not asked again and again, least of all for none', async () => {
    const { proxy, asked } = counted();
    const schedules = new KeptSchedules(proxy);
    for (let time = 0; time < 5; time += 1) await schedules.keep(new Map());
    expect(asked()).toBe(1);
    for (let time = 0; time < 5; time += 1) await schedules.keep(new Map([['a', every(5)]]));
    expect(asked()).toBe(2);
  });

  it('that the queue has forgotten are set again, and those that it has are left alone, so that their interval goes on', async () => {
    const { proxy, set } = counted();
    const schedules = new KeptSchedules(proxy, 0);
    await schedules.keep(new Map());
    const wanted = new Map([
      ['a', every(5)],
      ['b', daily],
    ]);
    await schedules.keep(wanted);
    await queue.removeJobScheduler('b');
    await schedules.keep(wanted);
    expect([set, [...(await present()).keys()].toSorted()]).toEqual([
      ['a', 'b', 'b'],
      ['a', 'b'],
    ]);
  });

  it('of a source that names none is each day at 04:00 on its own wall, whatever the hub’s clock shows', async () => {
    const zones = ['America/New_York', 'Asia/Kolkata'];
    for (const [at, timeZone] of zones.entries())
      await addSource(hub, `zone-${at}`, { from: { kind: 'folder', folder: `zone-${at}` }, timeZone });
    await addSource(hub, 'zone-own', { from: { kind: 'folder', folder: 'own' } });
    const { body } = await hub.call('GET', '/v1/reset-sources/zone-0');
    expect(body.schedule).toEqual({ kind: 'daily', at: '04:00', lateMinutes: 180 });
    const resets = hub.hub.app.get<Queue>(getQueueToken(RESETS));
    const found = await until('they are scheduled', async () => {
      const schedulers = await resets.getJobSchedulers(0, 100);
      return schedulers.length === 3 ? schedulers : null;
    });
    const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
    expect(Object.fromEntries(found.map(({ key, pattern, tz }) => [key, [pattern, tz]]))).toEqual({
      'zone-0': ['0 4 * * *', 'America/New_York'],
      'zone-1': ['0 4 * * *', 'Asia/Kolkata'],
      'zone-own': ['0 4 * * *', own],
    });
    // What the queue runs next is that hour there, and a clock that is put forward or back at 02:00 moves it with the wall.
    const [first] = found.filter(({ key }) => key === 'zone-0');
    expect(first?.next).toBe(getNextMillis(Date.now(), { pattern: '0 4 * * *', tz: 'America/New_York' }));
    const after = (moment: string) =>
      new Date(getNextMillis(Date.parse(moment), { pattern: first!.pattern!, tz: first!.tz! })!).toISOString();
    expect([after('2026-03-07T12:00:00Z'), after('2026-03-08T12:00:00Z')]).toEqual([
      '2026-03-08T08:00:00.000Z',
      '2026-03-09T08:00:00.000Z',
    ]);
    expect([after('2026-10-31T00:00:00Z'), after('2026-10-31T12:00:00Z')]).toEqual([
      '2026-10-31T08:00:00.000Z',
      '2026-11-01T09:00:00.000Z',
    ]);
  });

  it('of the nightly cleaning are there once a hub runs', async () => {
    const imports = hub.hub.app.get<Queue>(getQueueToken(IMPORTS));
    await until('it is scheduled', async () =>
      (await imports.getJobSchedulers(0, 10)).some(
        ({ key, pattern }) => key === 'clean-up' && pattern === '47 3 * * *',
      ),
    );
  });
});
