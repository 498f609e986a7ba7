/**
 * What a quarantined line's evidence allows, worked out anew from what is stored: every way in which the changes that the
 * cart made itself can lie before or after the reading before the line.
 */
export interface Evidence {
  readonly q0: number | null;
  readonly q0From: string | null;
  readonly q0To: string | null;
  readonly delta: number;
  readonly readings: readonly (number | null)[];
  readonly readFrom: string;
  readonly changes: readonly { readonly delta: number; readonly after: string | null; readonly by: string }[];
  readonly ordersKnown: boolean;
  readonly why: string;
}

/** Beyond this many changes of which nobody knows whether they came before the first reading, no story is told. */
const uncertainMax = 12;

/** @returns why nobody can decide, or null: exactly one story fits, and the line should not have been quarantined */
export function whyUndecidable(evidence: Evidence): string | null {
  const { q0, q0To, readings, delta, changes, ordersKnown } = evidence;
  const [read] = readings;
  if (read === null || read === undefined || readings.includes(null)) return 'the cart does not show the item';
  if (q0 === null || q0To === null) return 'what was there before is not known';
  if (!ordersKnown) return 'the orders are not known';
  const certain = changes.filter(({ after }) => after !== null && after > q0To);
  const open = changes.filter(
    (change) => !certain.includes(change) && !(evidence.q0From !== null && change.by < evidence.q0From),
  );
  if (open.length > uncertainMax) return 'too many stories';
  const sold = certain.reduce((sum, change) => sum + change.delta, 0);
  const stories = Array.from({ length: 2 ** open.length }, (_, story) =>
    open.reduce((sum, change, index) => ((story >> index) % 2 === 1 ? sum + change.delta : sum), q0 + sold),
  );
  const applied = stories.some((without) => without + delta === read);
  const notApplied = stories.includes(read);
  if (applied && notApplied) return 'both stories fit';
  return applied || notApplied ? null : 'neither story fits';
}
