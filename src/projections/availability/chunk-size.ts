/** One transaction of a recompute is held near this: live changes wait for one chunk at most. */
const chunkMsAim = 100;
const listingsMax = 2_000;

/** How many listings the next chunk takes, from how long the last one took. */
export class ChunkSize {
  now = 250;

  /** @param ms that a full chunk took */
  took(ms: number): void {
    if (ms < chunkMsAim / 2) this.now = Math.min(listingsMax, this.now * 2);
    else if (ms > chunkMsAim * 2) this.now = Math.max(10, Math.floor(this.now / 2));
  }
}
