const sorted = (values) => values.toSorted((a, b) => a - b);
export const median = (values) => quantile(values, 0.5);

/** The value below which that share of the values lies; NaN of none. */
export function quantile(values, share) {
  const inOrder = sorted(values);
  return inOrder[Math.min(inOrder.length - 1, Math.floor(inOrder.length * share))] ?? Number.NaN;
}

/** @returns how many ms it took */
export async function timed(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

const warmUps = 20;

/**
 * Several things to do, in turn: each is warmed up, and then done `samples` times in each round.
 * @param {readonly (readonly [string, () => Promise<unknown>])[]} loads
 * @returns {Promise<Record<string, { p50Ms: number, p99Ms: number }>>}
 */
export async function inTurn(loads, { rounds, samples }) {
  const took = new Map(loads.map(([name]) => [name, []]));
  for (const [, once] of loads) for (let n = 0; n < warmUps; n += 1) await once();
  for (let round = 0; round < rounds; round += 1)
    for (const [name, once] of loads) for (let n = 0; n < samples; n += 1) took.get(name).push(await timed(once));
  const shown = (ms) => Number(ms.toFixed(2));
  return Object.fromEntries(
    [...took].map(([name, times]) => [
      name,
      { p50Ms: shown(quantile(times, 0.5)), p99Ms: shown(quantile(times, 0.99)) },
    ]),
  );
}
