/** How often a lane begins a call at most, and how many lanes in a second. */
const everyMs = 500;
const perSecond = 20;
/** Turns that were not taken are kept for so long. */
const keptMs = 500;

/**
 * Whose turn it is while the projector is far behind: what left now would be changed again by what comes, and what waits is
 * summed up in place. Lanes go on in turns, those that waited longest first, and together no faster than so many a second,
 * so that a hundred of them are no more in the way than ten. Nothing stands still.
 */
export class SlowTurns {
  private readonly begunAt = new Map<string, number>();
  private lookedAt = -keptMs;
  private left = 0;

  /**
   * @param lanes that have something to send
   * @param now ms, of a clock that never goes back
   * @returns those that may begin a call
   */
  take(lanes: readonly string[], now: number): ReadonlySet<string> {
    this.left = Math.min((keptMs * perSecond) / 1_000, this.left + ((now - this.lookedAt) * perSecond) / 1_000);
    this.lookedAt = now;
    const last = (lane: string) => this.begunAt.get(lane) ?? -everyMs;
    const taken = lanes
      .filter((lane) => now - last(lane) >= everyMs)
      .sort((a, b) => last(a) - last(b))
      .slice(0, Math.floor(this.left));
    this.left -= taken.length;
    for (const lane of taken) this.begunAt.set(lane, now);
    return new Set(taken);
  }
}
