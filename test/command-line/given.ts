import type { LaneStatus } from '../../src/cart-workers/lane-control.js';
import type { Cart } from '../../src/command-line/cart-table.js';
import type { HubProcess } from '../../src/command-line/hub-commands.js';
import type { Situation } from '../../src/command-line/try-diagnosis.js';
import type { StackRecord } from '../../src/command-line/web-stack.js';
import type { ProjectorStatus } from '../../src/projections/projector-status.js';

/** What a hub that is well tells, with what a test wants otherwise. */

export function projectorOf(status: Partial<ProjectorStatus>): ProjectorStatus {
  return { state: 'following', effective: null, lagFacts: 0, lagMs: 0, stopped: null, horizonHeldBy: null, ...status };
}

export function processOf(process: Partial<HubProcess>): HubProcess {
  return {
    name: 'onhand/0.1.0 worker host-4711-9f86d081',
    version: '0.1.0',
    roles: ['worker'],
    since: '2026-03-01T11:00:00.000Z',
    lastSeenAt: '2026-03-01T12:00:00.000Z',
    silentMs: 900,
    effectiveProjector: false,
    ...process,
  };
}

export function laneOf(lane: Partial<LaneStatus>): LaneStatus {
  return {
    cartId: 'shop',
    name: 'Shop',
    light: 'green',
    why: null,
    waiting: 0,
    cadence: { kind: 'real-time' },
    paced: 0,
    openedAt: null,
    nextMomentAt: null,
    inFlight: 0,
    inDoubt: 0,
    quarantined: 0,
    deadLettered: 0,
    oldestWaitingAt: null,
    downSince: null,
    nextProbeAt: null,
    lastResponse: null,
    lastSuccessAt: null,
    paused: null,
    ...lane,
  };
}

export function cartOf(cartSwitch: 'on' | 'off' = 'on', systemSwitch: 'on' | 'off' = 'on'): Cart {
  const inEffect = cartSwitch === 'on' && systemSwitch === 'on';
  return { id: 'shop', switches: { cartSwitch, systemSwitch, inEffect, why: 'Nothing is sent.' } } as Cart;
}

export function recordOf(record: Partial<StackRecord>): StackRecord {
  return {
    id: '1',
    state: 'waiting',
    attempts: 0,
    lastResponse: null,
    delivery: null,
    attemptsMade: [],
    hops: [],
    ...record,
  } as unknown as StackRecord;
}

export function situationOf(situation: Partial<Situation>): Situation {
  const listing = { synchronised: true, unlisted: null, target: 5 } as Situation['listing'];
  const known = { cart: cartOf(), key: 'MUG', wanted: 6, record: null, projector: projectorOf({}), lane: laneOf({}) };
  return { ...known, listing, heldBackBy: null, seen: null, ...situation };
}
