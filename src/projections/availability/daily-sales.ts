/**
 * How many pieces go in some days at the rate of a window of days, rounded up.
 * @param sold in the window; less than nothing where more was cancelled than sold, which is no rate
 * @param coverDays two decimals, or a part of a day in milliseconds
 */
export function rateOver(sold: number, windowDays: number, coverDays: number): number {
  if (sold <= 0 || coverDays <= 0) return 0;
  // Nine digits are kept: 0.1 days are a tenth, and not a little more, which would round up to another piece.
  return Math.ceil(Number(((sold * coverDays) / windowDays).toPrecision(12)));
}
