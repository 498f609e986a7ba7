import { isProbeOf, type CartProbe, type CartSettings, type DeliveryWay } from '../../events/facts.js';
import type { Capabilities, Connector } from './connector.js';

/** What was found, and where. */
export type ProbedAt = Pick<CartProbe, 'found' | 'url' | 'storeCode'>;

/**
 * What one cart can do: what its type declares, less what a probe found that it does otherwise, less what a person chose
 * to do without. A script that sets where it should add, or a receiver that keeps no idempotency keys, is served in a
 * weaker way; nothing else about it changes.
 */
export function capabilitiesOf(
  connector: Pick<Connector, 'capabilities' | 'deliveryWays'>,
  settings: CartSettings,
  probe: ProbedAt | null = null,
): Capabilities {
  const found = probe !== null && isProbeOf(probe, settings) ? probe.found : null;
  const declared: Capabilities = {
    ...connector.capabilities,
    listingComplete: found?.listingStable ?? connector.capabilities.listingComplete ?? true,
    tildeInKeys: found?.tildeInKeys ?? connector.capabilities.tildeInKeys ?? true,
    ...(found?.orders && { ordersBy: found.orders }),
    ...(found?.updates && { updates: found.updates }),
  };
  const delivery = weakest(connector.deliveryWays, [declared.delivery, settings.delivery, found?.delivery ?? null]);
  switch (delivery) {
    case declared.delivery:
      return declared;
    case 'set-only':
      return {
        ...declared,
        delivery: 'set-only',
        keyLifeMs: null,
        linesPerDeliveryMax: declared.rowsPerSetMax,
        // Two sequences of reading and setting side by side would not know of each other.
        parallelCallsMax: 1,
      };
    default:
      return { ...declared, delivery, keyLifeMs: null };
  }
}

/** A way that the type does not know counts as its strongest: the settings were checked when they were made. */
function weakest(ways: readonly DeliveryWay[], wished: readonly (DeliveryWay | null)[]): DeliveryWay {
  const at = Math.max(0, ...wished.map((way) => (way === null ? 0 : ways.indexOf(way))));
  return ways[at] as DeliveryWay;
}
