import { appendFileSync } from 'node:fs';

/** How long to go on (0: the short form, part of `npm test`), and the seed of everything that is drawn. See run.mjs. */
export const depth = {
  minutes: Number(process.env['FAULTS_MINUTES'] ?? 0),
  seed: Number(process.env['FAULTS_SEED'] ?? 20261122),
};

/** What a suite did, for the account at the end of a run. Counts are added up, `Max` takes the largest. */
export type Tally = Readonly<Record<string, number>>;

export function tally(done: Tally): void {
  const file = process.env['FAULTS_TALLY'];
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(done)}\n`);
}

/** A small generator (mulberry32), so that a seed gives the same choice everywhere. */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const result = [...items];
  for (let at = result.length - 1; at > 0; at -= 1) {
    const other = Math.floor(random() * (at + 1));
    [result[at], result[other]] = [result[other] as T, result[at] as T];
  }
  return result;
}
