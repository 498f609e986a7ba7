/** Work that is done again and again: one round at a time, with a pause between them. */
export class Rounds {
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> = Promise.resolve();
  private ended = false;

  /** @param round must not throw */
  constructor(
    private readonly pauseMs: number,
    private readonly round: () => Promise<void>,
  ) {}

  /** For rounds that are long: whether to end early. */
  get stopping(): boolean {
    return this.ended;
  }

  /** @param firstMs the pause before the first round; 0: at once */
  start(firstMs: number = this.pauseMs): void {
    this.timer = setTimeout(() => {
      this.running = this.round().finally(() => {
        if (!this.ended) this.start();
      });
    }, firstMs);
  }

  /** Resolves when the round under way has ended. */
  async stop(): Promise<void> {
    this.ended = true;
    clearTimeout(this.timer);
    await this.running;
  }
}
