import { osCommerceConnector, xCartConnector } from './bridge.connector.js';
import type { Connector } from './connector.js';
import { setiConnector } from './seti.connector.js';
import { webhookConnector } from './webhook.connector.js';

/** The one table of cart types: a new connector is one more entry here. */
const connectors: ReadonlyMap<string, Connector> = new Map(
  [setiConnector, webhookConnector, osCommerceConnector, xCartConnector].map((connector) => [
    connector.type,
    connector,
  ]),
);

/** @throws RangeError where no connector speaks that type; boot checks every stored cart with it. */
export function connectorFor(type: string): Connector {
  const connector = connectors.get(type);
  if (!connector)
    throw new RangeError(`no connector speaks the cart type "${type}"; known are ${[...connectors.keys()].join(', ')}`);
  return connector;
}

export function cartTypes(): readonly Connector[] {
  return [...connectors.values()];
}
