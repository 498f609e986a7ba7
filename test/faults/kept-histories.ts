import type { Step } from './trading-steps.js';

/** Days that once ended wrongly, as short as they could be made. They are lived again before any new one. */
export const keptHistories: readonly { readonly broke: string; readonly steps: readonly Step[] }[] = [
  {
    // A cart that tells whole seconds; three times, because a second may end between the count and the sale.
    broke: 'held a sale to be in the count of the same second, and put its pieces back on sale',
    steps: ([0, 1, 2] as const).flatMap((item): Step[] => [
      { do: 'count', item, location: 'STORE', quantity: 27, minutesAgo: null, as: 'reset', includesOpen: false },
      { do: 'buy', cart: 'settle', lines: [{ item, quantity: 2 }] },
    ]),
  },
  {
    // The change by hand makes the lost answer undecidable; what comes later waits behind it for a person.
    broke: 'was waited for in vain, though a person had to decide first',
    steps: [
      { do: 'edit', cart: 'settle', item: 2, by: 1_009 },
      { do: 'fault', cart: 'settle', faults: { refuse: 2 } },
      { do: 'move', item: 2, location: 'MAIN', delta: -2, minutesAgo: 4 },
      { do: 'move', item: 2, location: 'MAIN', delta: 7, minutesAgo: 59 },
      { do: 'move', item: 2, location: 'MAIN', delta: 5, minutesAgo: 51 },
    ],
  },
];
