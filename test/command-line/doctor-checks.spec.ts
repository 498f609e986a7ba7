import { describe, expect, it } from 'vitest';
import type { Cart } from '../../src/command-line/cart-table.js';
import {
  addressFinding,
  clockFinding,
  comparedFinding,
  probeFinding,
  diskFinding,
  isPrivateHost,
  keyFinding,
  laneFindings,
  nodeFinding,
  processFindings,
  projectorFindings,
  secretsFinding,
  transportFinding,
  versionFinding,
} from '../../src/command-line/doctor-checks.js';
import { laneOf, processOf, projectorOf } from './given.js';

const now = Date.parse('2026-03-01T12:00:00Z');
const states = (findings: readonly { state: string }[]) => findings.map(({ state }) => state);

describe('doctor', () => {
  it('says when carts’ secrets are under an old key, or under one that the hub does not have', () => {
    const well = { total: 2, underPreviousKey: 0, unreadable: [] };
    expect(secretsFinding(well).state).toBe('well');
    expect(secretsFinding({ ...well, underPreviousKey: 1 })).toMatchObject({
      state: 'wrong',
      detail: '1 of 2 are still under an old encryption key',
      mend: expect.stringContaining('rotate-encryption-key'),
    });
    expect(secretsFinding({ ...well, unreadable: ['shop-a'] })).toMatchObject({
      state: 'wrong',
      detail: expect.stringContaining('shop-a'),
      mend: expect.stringContaining('ONHAND_PREVIOUS_ENCRYPTION_KEYS'),
    });
  });

  it('knows which Node can be used', () => {
    const wanted = {
      'v20.18.9': 'wrong',
      'v18.20.0': 'wrong',
      'v20.19.0': 'well',
      '22.1.0': 'well',
      'v24.0.0': 'well',
    };
    for (const [version, state] of Object.entries(wanted))
      expect([version, nodeFinding(version).state]).toEqual([version, state]);
  });

  it('tells clocks apart only beyond what a header of whole seconds can prove', () => {
    expect(clockFinding(now, now + 900, now + 950)).toMatchObject({ state: 'well' });
    expect(clockFinding(now + 4_000, now - 100, now)).toMatchObject({ state: 'well' });
    expect(clockFinding(now, now + 61_000, now + 61_100)).toMatchObject({
      state: 'wrong',
      detail: expect.stringContaining('1 min'),
    });
    expect(clockFinding(now + 60_000, now, now)).toMatchObject({ state: 'wrong' });
    expect(clockFinding(Number.NaN, now, now)).toMatchObject({ state: 'unknown' });
  });

  it('sees a projector that stopped, is behind, or is held back, and names who holds it', () => {
    expect(states(projectorFindings(projectorOf({})))).toEqual(['well', 'well']);
    expect(projectorFindings(projectorOf({ lagFacts: 3, lagMs: 900 }))[0]).toMatchObject({ state: 'well' });
    expect(projectorFindings(projectorOf({ lagFacts: 3, lagMs: 9_000 }))[0]).toMatchObject({ state: 'wrong' });
    const stopped = {
      stream: 'stock:MUG',
      version: '7',
      type: 'StockSold',
      error: 'broken',
      at: '2026-03-01T11:00:00.000Z',
    };
    expect(projectorFindings(projectorOf({ state: 'stopped', stopped }))[0]).toMatchObject({
      state: 'wrong',
      mend: expect.stringContaining('onhand projections resume'),
    });
    const horizonHeldBy = { pid: 42, application: 'psql', database: 'other', ageMs: 65_000 };
    expect(projectorFindings(projectorOf({ horizonHeldBy }))[1]).toMatchObject({
      detail: expect.stringContaining('psql (process 42 of PostgreSQL, database other), open for 1 min 5 s'),
      mend: expect.stringContaining('pg_terminate_backend(42)'),
    });
  });

  it('misses a role that nobody plays, and names a process that is frozen or of another version', () => {
    const all = processOf({ roles: ['api', 'projector', 'worker'], effectiveProjector: true });
    expect(processFindings([all])).toEqual([
      { check: 'Processes', state: 'well', detail: '1, and every role is played' },
    ]);
    const spare = processOf({ roles: ['projector'] });
    expect(processFindings([all, spare])).toMatchObject([{ detail: expect.stringContaining('1 projector stands by') }]);
    expect(processFindings([processOf({ roles: ['api', 'projector'] })])).toMatchObject([
      {
        state: 'wrong',
        detail: expect.stringContaining('role worker'),
        mend: expect.stringContaining('ONHAND_ROLES=worker'),
      },
    ]);
    const frozen = processOf({ name: 'onhand/0.1.0 worker host-1-a', roles: ['worker'], silentMs: 61_000 });
    expect(processFindings([all, frozen])).toMatchObject([
      { detail: 'onhand/0.1.0 worker host-1-a is connected and has not been awake for 1 min 1 s' },
    ]);
    expect(processFindings([all, processOf({ version: '0.2.0' })])).toMatchObject([
      { detail: 'they run different versions: 0.1.0, 0.2.0' },
    ]);
  });

  it('gives each light that is not green its way back', () => {
    const mendOf = (lane: Parameters<typeof laneOf>[0]) => laneFindings([laneOf(lane)], now)[0]?.mend;
    expect(laneFindings([laneOf({})], now)).toMatchObject([{ state: 'well' }]);
    expect(mendOf({ light: 'red', why: 'Paused by Ann' })).toContain('onhand carts resume shop');
    expect(mendOf({ light: 'amber', why: 'The cart is down' })).toContain('onhand carts test shop');
    expect(mendOf({ light: 'off', why: 'The system switch is off' })).toBe('onhand system on');
    expect(mendOf({ light: 'off', why: 'The cart switch is off' })).toContain('onhand carts on shop');
    expect(mendOf({ light: 'off', why: 'No worker has opened a lane for this cart yet' })).toContain('role worker');
    const refused = 'No lane is left for this cart: 48 lanes are open. Set REDIS_URL';
    expect(laneFindings([laneOf({ light: 'off', why: refused })], now)).toMatchObject([
      { state: 'wrong', detail: `off: ${refused}`, mend: expect.stringContaining('start them again') },
    ]);
  });

  it('measures what waits against 20 s, and counts what waits for a person', () => {
    const old = (seconds: number) => new Date(now - seconds * 1_000).toISOString();
    expect(laneFindings([laneOf({ waiting: 1, oldestWaitingAt: old(19) })], now)).toHaveLength(1);
    const [, waiting, dead, quarantined] = laneFindings(
      [laneOf({ waiting: 2, oldestWaitingAt: old(21), deadLettered: 1, quarantined: 3 })],
      now,
    );
    expect(waiting).toMatchObject({ state: 'wrong', detail: 'the oldest of 2 waits 21 s; the promise is 20 s' });
    expect(dead).toMatchObject({ mend: expect.stringContaining('dead-letters redrive shop') });
    expect(quarantined).toMatchObject({ mend: expect.stringContaining('quarantined resolve shop') });
  });

  it('sees carts that were never compared, map nothing, or do not know an item', () => {
    const cart = (listings: number, synchronised: number, unlisted: number) =>
      comparedFinding({ id: 'shop', listings, synchronised, unlisted } as Cart).state;
    expect([cart(0, 0, 0), cart(5, 4, 0), cart(5, 5, 1), cart(5, 5, 0)]).toEqual(['wrong', 'wrong', 'wrong', 'well']);
  });

  it('minds passwords and keys that go through the internet in clear text', () => {
    expect(addressFinding({ id: 'shop', url: 'http://shop.example.com' })).toMatchObject({ state: 'wrong' });
    expect(addressFinding({ id: 'shop', url: 'https://shop.example.com' })).toMatchObject({ state: 'well' });
    expect(addressFinding({ id: 'shop', url: 'http://10.0.0.5/seti' })).toMatchObject({
      detail: expect.stringContaining('ONHAND_ALLOW_PRIVATE_CART_URLS'),
    });
    expect(transportFinding('http://stock.example.com')).toMatchObject({ state: 'wrong' });
    for (const host of [
      'localhost',
      '127.0.0.1',
      '10.1.2.3',
      '172.31.0.1',
      '192.168.1.1',
      '[::1]',
      '[fd00::1]',
      '[fe80::1]',
    ]) {
      expect([host, isPrivateHost(host)]).toEqual([host, true]);
    }
    for (const host of ['example.com', '172.32.0.1', '11.0.0.1', '[2001:db8::1]', 'fd.example.com'])
      expect([host, isPrivateHost(host)]).toEqual([host, false]);
  });

  it('minds keys about to expire, versions that differ, and a full disk', () => {
    const key = (expiresAt: string | null) => keyFinding({ name: 'till', scope: 'read', expiresAt }, now).state;
    expect([key(null), key('2026-03-05T00:00:00Z'), key('2027-01-01T00:00:00Z')]).toEqual(['well', 'wrong', 'well']);
    expect([versionFinding('1.0.0', '1.0.0').state, versionFinding('1.0.0', '1.1.0').state]).toEqual(['well', 'wrong']);
    expect([diskFinding('/d', 5e9).state, diskFinding('/d', 5e8).state]).toEqual(['well', 'wrong']);
  });

  it('minds scripts that are of another version than their probe', () => {
    const probed = (scriptVersionNow: string | null) =>
      probeFinding({
        id: 'shop',
        needsProbe: true,
        probe: scriptVersionNow === null ? null : { scriptVersion: '5.9', scriptVersionNow },
      } as Cart);
    expect([probed('5.9')?.state, probed('6.0')?.state, probed(null)?.state]).toEqual(['well', 'wrong', 'unknown']);
    expect(probed('6.0')).toMatchObject({
      detail: expect.stringContaining('version 6.0 now'),
      mend: expect.stringContaining('onhand carts probe shop'),
    });
    expect(probeFinding({ id: 'shop', needsProbe: false, probe: null })).toBeNull();
  });
});
