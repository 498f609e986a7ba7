import { isStockStream } from './streams.js';

/** After so many batches in a row whose unknown heads all existed, the next one is taken to be like them. */
const alikeMin = 8;
/** After one was missing: where one item is new, others are. */
const alikeMinAfterMiss = 64;

/**
 * Streams whose heads are known to exist, so that a batch need not try to create them: a head is never deleted once
 * something has happened on its stream. Bounded; of more items than it holds most are unknown, and have stock all the same.
 * So where creating heads of stock found nothing to create for a while, they are taken to exist until one is missing (papers
 * are not: most of them are new). Whoever relies on it counts what he locked, so a wrong entry or guess costs a second
 * attempt and cannot do harm.
 */
export class KnownHeads {
  #young = new Set<string>();
  #old: ReadonlySet<string> = new Set();
  /** Batches of unknown stock that have to be found to exist before the next is taken to. */
  #toBeAlike = alikeMin;

  /** @param max streams; about 150 bytes each */
  constructor(private readonly max: number) {}

  /** @returns whether heads should be created before they are locked */
  mayMiss(streams: readonly string[]): boolean {
    const unknown = streams.filter((stream) => !this.#young.has(stream) && !this.#old.has(stream));
    return unknown.length > 0 && (this.#toBeAlike > 0 || !unknown.every(isStockStream));
  }

  /** @param count how many of their heads did not exist and were created */
  created(streams: readonly string[], count: number): void {
    if (!streams.every(isStockStream)) return;
    this.#toBeAlike = count > 0 ? Math.max(this.#toBeAlike, alikeMin) : Math.max(0, this.#toBeAlike - 1);
  }

  /** After the commit of a transaction that locked them and on whose streams something has happened. Of those that nobody asked for lately, the old half goes. */
  add(streams: Iterable<string>): void {
    for (const stream of streams) this.#young.add(stream);
    if (this.#young.size < this.max / 2) return;
    this.#old = this.#young;
    this.#young = new Set();
  }

  /** A head was missing that was not to be created: it was guessed to exist, or else nothing that is known holds any more. */
  missed(): void {
    if (this.#toBeAlike > 0) {
      this.#young.clear();
      this.#old = new Set();
    }
    this.#toBeAlike = alikeMinAfterMiss;
  }
}
