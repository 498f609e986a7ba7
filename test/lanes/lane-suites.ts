import { describe } from 'vitest';
import type { LaneBackend } from './lane-bench.js';
import { dispatchSuite } from './lane-suite-dispatch.js';
import { operationsSuite } from './lane-suite-operations.js';
import { orderSuite } from './lane-suite-orders.js';
import { outageSuite } from './lane-suite-outages.js';
import { refusalSuite } from './lane-suite-refusals.js';
import { deliveryWaySuite } from './lane-suite-delivery-ways.js';
import { settlementSuite } from './lane-suite-settlement.js';

/** What every queue backend has to pass: from a movement to what the shop shows, whatever happens on the way. */
export function laneSuites(name: string, backendOf: () => LaneBackend): void {
  describe(`lanes on ${name}`, () => {
    dispatchSuite(backendOf);
    refusalSuite(backendOf);
    outageSuite(backendOf);
    settlementSuite(backendOf);
    deliveryWaySuite(backendOf);
    orderSuite(backendOf);
    operationsSuite(backendOf);
  });
}
