import { describe, expect, it } from 'vitest';
import { SlowTurns } from './slow-turns.js';

describe('turns while the projector is far behind', () => {
  const lanes = (count: number) => Array.from({ length: count }, (_, n) => `lane-${n}`);
  /** How often each lane had its turn, looked at each tenth of a second. */
  const turnsIn = (seconds: number, all: readonly string[]) => {
    const turns = new SlowTurns();
    const taken = new Map(all.map((lane) => [lane, 0]));
    for (let now = 0; now < seconds * 1_000; now += 100)
      for (const lane of turns.take(all, now)) taken.set(lane, (taken.get(lane) ?? 0) + 1);
    return taken;
  };

  it('lets one lane begin a call each half second', () => {
    expect(turnsIn(10, lanes(1)).get('lane-0')).toBe(20);
  });

  it('lets ten lanes do so, too', () => {
    for (const taken of turnsIn(10, lanes(10)).values()) expect(taken).toBeGreaterThanOrEqual(19);
  });

  it('gives a hundred lanes one turn each before any has its next', () => {
    const taken = [...turnsIn(10, lanes(100)).values()];
    expect(Math.min(...taken)).toBe(2);
    expect(Math.max(...taken)).toBeLessThanOrEqual(3);
  });

  it('does not save up turns while there was nothing to do', () => {
    const turns = new SlowTurns();
    turns.take([], 0);
    expect(turns.take(lanes(100), 60_000).size).toBe(10);
    expect(turns.take(lanes(100), 60_000).size).toBe(0);
  });
});
