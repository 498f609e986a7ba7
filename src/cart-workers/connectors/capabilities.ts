import type { CartSettings } from '../../events/facts.js';
import type { Capabilities, Connector } from './connector.js';

/**
 * What one cart can do: what its type can, less what this cart is known not to. A script that sets where it should add,
 * or a receiver that keeps no idempotency keys, is served in a weaker way; nothing else about it changes.
 */
export function capabilitiesOf(connector: Connector, settings: Pick<CartSettings, 'delivery'>): Capabilities {
  const { capabilities } = connector;
  switch (settings.delivery ?? capabilities.delivery) {
    case capabilities.delivery:
      return capabilities;
    case 'set-only':
      return {
        ...capabilities,
        delivery: 'set-only',
        keyLifeMs: null,
        linesPerDeliveryMax: capabilities.rowsPerSetMax,
        // Two sequences of reading and setting side by side would not know of each other.
        parallelCallsMax: 1,
      };
    default:
      return { ...capabilities, delivery: settings.delivery ?? capabilities.delivery, keyLifeMs: null };
  }
}
