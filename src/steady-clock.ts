import { performance } from 'node:perf_hooks';

let ahead = performance.timeOrigin;

/**
 * Milliseconds since the epoch by a clock that never goes back, for deadlines and waits. A system clock that is set back
 * in the middle of a call would move the call's deadline away with it, and bytes would leave after everybody else has
 * seen that deadline pass. Where the system clock leaps ahead (or the machine slept) this one follows, so that a deadline
 * is rather too early than too late; afterwards it may stay ahead for good. Compare it with itself only.
 */
export function steadyNow(): number {
  const running = performance.now();
  ahead = Math.max(ahead, Date.now() - running);
  return running + ahead;
}
