import { afterEach, describe, expect, it, vi } from 'vitest';
import { steadyNow } from './steady-clock.js';

const hourMs = 3_600_000;

afterEach(() => vi.restoreAllMocks());

describe('the steady clock', () => {
  it('goes on when the system clock is set back, and follows it ahead', () => {
    const real = Date.now.bind(Date);
    const before = steadyNow();
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => real() - hourMs);
    expect(steadyNow()).toBeGreaterThanOrEqual(before);
    expect(steadyNow() - before).toBeLessThan(hourMs / 2);
    clock.mockImplementation(() => real() + hourMs);
    expect(steadyNow() - before).toBeGreaterThan(hourMs - 100);
    clock.mockImplementation(real);
    expect(steadyNow() - before).toBeGreaterThan(hourMs - 100);
  });
});
