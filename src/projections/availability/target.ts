/**
 * What a cart should show, from what is on hand. Pure, so that the projector, dry runs and explanations all get the
 * same integer.
 *
 * At zero and below nothing is ever raised: were a back-ordered sale (expected −1) answered with "target 0", the +1 sent
 * would re-arm the very piece that was oversold, for ever.
 *
 * @param available on hand of the cart's locations, through its rules; whole units, may be negative
 * @param expected what the listing shows once all that is owed has been applied
 */
export function targetFor(available: number, expected: number): number {
  return available <= 0 ? Math.min(expected, 0) : available;
}

/**
 * What an echo makes of `expected`. A cart that clamps at zero cannot have gone below it, whatever it sold.
 * @param delta what the cart did to its own stock
 */
export function expectedAfterEcho(expected: number, delta: number, clampsAtZero: boolean): number {
  const after = expected + delta;
  return clampsAtZero && delta < 0 ? Math.max(after, Math.min(expected, 0)) : after;
}
