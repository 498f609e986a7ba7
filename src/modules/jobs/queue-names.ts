/** The fixed queues. Lanes are not among them: they come and go with the carts. */
export const ORDER_POLLS = 'order-polls';
export const COMPARISONS = 'comparisons';
export const CLEAN_UP = 'clean-up';
export const PROBES = 'probes';
