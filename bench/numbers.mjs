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
