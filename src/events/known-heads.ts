/**
 * Streams whose heads are known to exist, so that a batch need not try to create them: a head is never deleted once
 * something has happened on its stream. Bounded;
 * what is forgotten costs one statement. Whoever relies on it counts what he locked, so a wrong entry cannot do harm.
 */
export class KnownHeads {
  #young = new Set<string>();
  #old: ReadonlySet<string> = new Set();

  /** @param max streams; about 150 bytes each */
  constructor(private readonly max: number) {}

  unknownOf(streams: readonly string[]): string[] {
    return streams.filter((stream) => !this.#young.has(stream) && !this.#old.has(stream));
  }

  /** After the commit of a transaction that locked them and on whose streams something has happened. Of those that nobody asked for lately, the old half goes. */
  add(streams: Iterable<string>): void {
    for (const stream of streams) this.#young.add(stream);
    if (this.#young.size < this.max / 2) return;
    this.#old = this.#young;
    this.#young = new Set();
  }

  forget(): void {
    this.#young.clear();
    this.#old = new Set();
  }
}
