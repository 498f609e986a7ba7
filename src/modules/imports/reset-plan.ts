import type { ResetSourceSettings, Source } from '../../events/facts.js';
import type { CartImpact } from './cart-impacts.js';

/**
 * What one reset file means: the settings of its source as they were when it was taken, and what was known of the file.
 * It is kept with the import, so that its rows make the same commands whenever they are made.
 */
export interface ResetPlan extends Pick<
  ResetSourceSettings,
  | 'sourceId'
  | 'complete'
  | 'absent'
  | 'zeroInactive'
  | 'includesOrders'
  | 'ordersSince'
  | 'idType'
  | 'lastLine'
  | 'holdAbovePercent'
  | 'timeZone'
> {
  readonly fileName: string;
  /** The moment of the whole file, ISO 8601; null: each row tells its own, in `momentColumn`. */
  readonly asOf: string | null;
  readonly momentColumn: string | null;
  /** Whose movements the numbers contain already, where they were before the moment. */
  readonly knows: readonly Source[];
  /** What facilities mean: location by the name that the file uses. */
  readonly places: Readonly<Record<string, string>>;
  /** Rows of the last file of this source that was applied; null: there is none. */
  readonly rowsBefore: number | null;
  /** The moment of that file; what speaks only of before is not applied. */
  readonly notBefore: string | null;
  /** Wait for a person in any case. */
  readonly preview: boolean;
}

/** What a reset would do, counted when its file was checked. */
export interface ResetCheck {
  readonly rows: number;
  readonly same: number;
  readonly raised: number;
  readonly lowered: number;
  /** Had stock, and would have none. */
  readonly zeroed: number;
  /** Would have far more than they had. */
  readonly inflated: number;
  /** Sum of all changes. */
  readonly pieces: number;
  /** Items that the file does not hold and that are set to 0. */
  readonly absent: number;
  /** Why absent ones are left as they are although they should be set to 0; null: no reason. */
  readonly absentLeft: string | null;
  /** Rows that could not be read, or contradict others; items and places that nobody knows are not among them. */
  readonly bad: number;
  /** The latest moment that a row speaks of. */
  readonly latest: string | null;
  /** Carts whose listings it would change, the worst first. */
  readonly carts: readonly CartImpact[];
  readonly sample: readonly {
    readonly sku: string;
    readonly location: string;
    readonly before: number;
    readonly after: number;
  }[];
}

/** @returns why nothing of it is applied; null: it is as new as the last file, or newer */
export function whyOlder({ notBefore }: ResetPlan, { latest }: ResetCheck): string | null {
  if (notBefore === null || latest === null || latest >= notBefore) return null;
  return `It speaks of ${latest} at the latest, and a file of ${notBefore} has been applied already; nothing was done.`;
}

/** A share of a few rows means nothing. */
const ROWS_MIN = 3;

/** @returns why the file waits for a person; null: it does not */
export function whyHeld(plan: ResetPlan, check: ResetCheck, received: number): string | null {
  if (plan.preview) return 'It was sent to be looked at first.';
  const { holdAbovePercent: percent, rowsBefore } = plan;
  const much = (count: number, of: number) => count >= ROWS_MIN && count * 100 > of * percent;
  const told = (count: number, of: number, what: string) =>
    `${count} of ${of} ${what}, which is more than ${percent} %. Is it the right file, and whole?`;
  if (much(check.zeroed, check.rows)) return told(check.zeroed, check.rows, 'items would be set to nothing');
  if (much(check.inflated, check.rows))
    return told(check.inflated, check.rows, 'items would have more than twice what they have');
  if (much(check.bad, received)) return told(check.bad, received, 'rows are wrong');
  if (plan.complete && rowsBefore !== null && much(rowsBefore - received, rowsBefore))
    return told(rowsBefore - received, rowsBefore, 'rows of the file before are missing');
  const guarded = check.carts.find(({ why }) => why !== null);
  return guarded === undefined ? null : `At the cart ${guarded.cartId} ${guarded.why}.`;
}
