/**
 * What a cart did with a change, from what it showed before and after it. Pure.
 *
 * An item that shows 2 or more tells all stories apart when one is added: 3 (adds), 1 (sets), 2 (ignores). Fewer do not,
 * so a probe asks for an item with at least two pieces.
 */
export type Behaviour = 'adds' | 'clamps' | 'sets' | 'ignores';

export const probePiecesMin = 2;

export interface Seen {
  readonly before: number;
  readonly delta: number;
  /** Pieces of it in the orders that came in between. */
  readonly sold: number;
  readonly after: number;
}

/** Every story that fits; the caller believes it only where exactly one does. */
export function behavioursThatFit({ before, delta, sold, after }: Seen): readonly Behaviour[] {
  const sum = before + delta - sold;
  const fitting: Behaviour[] = [];
  if (after === sum) fitting.push('adds');
  if (sum < 0 && after === 0) fitting.push('clamps');
  // A sale before it is overwritten, one after it is not.
  if (after === delta || after === delta - sold) fitting.push('sets');
  if (after === before - sold) fitting.push('ignores');
  return [...new Set(fitting)];
}

/**
 * What became of a change whose answer was lost, by what the item shows once it cannot be under way any more.
 * @param parts changes sent at once; any number of them may have taken effect
 * @returns the sum that took effect, 'sets', or null where no story or more than one fits
 */
export function settleDoubt(
  { before, delta, sold, after }: Seen,
  { parts, maySet }: { readonly parts: number; readonly maySet: boolean },
): number | 'sets' | null {
  if (parts > 1) {
    const happened = after - (before - sold);
    const [least, most] = delta < 0 ? [delta, 0] : [0, delta];
    return happened >= least && happened <= most ? happened : null;
  }
  const fitting = behavioursThatFit({ before, delta, sold, after }).filter((one) => one !== 'sets' || maySet);
  const [story, other] = fitting;
  if (story === undefined || other !== undefined) return null;
  if (story === 'sets') return 'sets';
  if (story === 'ignores') return 0;
  return story === 'clamps' ? -(before - sold) : delta;
}
