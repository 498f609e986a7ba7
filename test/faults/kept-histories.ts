import type { Step } from './trading-steps.js';

/** Days that once ended wrongly, as short as they could be made. They are lived again before any new one. */
export const keptHistories: readonly { readonly broke: string; readonly steps: readonly Step[] }[] = [
  {
    // A cart that tells whole seconds; three times, because a second may end between the count and the sale.
    broke: 'held a sale to be in the count of the same second, and put its pieces back on sale',
    steps: ([0, 1, 2] as const).flatMap((item): Step[] => [
      { do: 'count', item, quantity: 27, minutesAgo: null, as: 'reset' },
      { do: 'buy', cart: 'settle', item, quantity: 2 },
    ]),
  },
];
