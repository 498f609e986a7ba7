// What the day came to: who shows what, what was lost or doubled, and how long changes took.
import { UNKNOWN_AT_B } from './catalogue.mjs';

/**
 * Everything that can be known after the day, from four sides that know nothing of each other: the hub's API, each
 * shop's own stock and journal, and the driver's model.
 */
export async function gather({ hub, shops, model, records }) {
  const [items, orders, stocks, journals, deadLetters, quarantined] = await Promise.all([
    hub.list('/v1/items'),
    Promise.all(shops.map((shop) => shop.orders())),
    Promise.all(shops.map((shop) => shop.items())),
    Promise.all(shops.map((shop) => shop.journal())),
    hub.list('/v1/dead-letters'),
    hub.list('/v1/quarantined'),
  ]);
  return {
    truth: model.totals(orders.flat()),
    onHand: new Map(items.map((item) => [item.sku, item.onHand])),
    shown: stocks.map((rows) => new Map(rows.map(({ key, quantity }) => [key, quantity]))),
    journals: journals.map(({ journal }) => journal),
    orders,
    records,
    deadLetters,
    quarantined,
  };
}

/** SKUs of which somebody shows something other than the model. */
export function differencesOf({ truth, onHand, shown }) {
  const rows = [];
  for (const [sku, right] of truth) {
    const row = { sku, right, hub: onHand.get(sku), shops: shown.map((stock) => stock.get(sku)) };
    const wrong = row.hub !== right || row.shops.some((quantity, n) => isWrong(quantity, right, n, sku));
    if (wrong) rows.push(row);
  }
  return rows;
}

/** A shop that lists an item shows what there is. Where more was sold than there was, it must show nothing to sell. */
function isWrong(quantity, right, shopNumber, sku) {
  if (quantity === undefined) return !(shopNumber === 1 && sku === UNKNOWN_AT_B);
  return right > 0 ? quantity !== right : quantity > 0;
}

/**
 * Lost and doubled changes, proven from the shops' own journals: per item, what the hub's calls of the day added up to
 * there, against what they should have. A difference as large as one record's delta is that record, lost or doubled.
 *
 * @param {{ truth: Map<string, number>, shown: Map<string, number>[],
 *   journals: { at: string, kind: string, key: string, delta: number }[][],
 *   records: { cartId: string, key: string, delta: number }[] }} verdict what everybody shows in the end
 * @param {Map<string, number>[]} morning what each shop showed when the day began
 * @param {{ name: string, cartId: string }[]} shops
 * @param {number} openedAt ms since 1970
 */
export function lostAndDoubled({ truth, shown, journals, records }, morning, shops, openedAt) {
  const found = { lost: 0, doubled: 0, cases: [] };
  for (const [n, journal] of journals.entries()) {
    const applied = sumsOf(
      journal.filter(
        (change) => change.kind !== 'sale' && change.kind !== 'cancel' && Date.parse(change.at) >= openedAt,
      ),
    );
    const sold = sumsOf(
      journal.filter(
        (change) => (change.kind === 'sale' || change.kind === 'cancel') && Date.parse(change.at) >= openedAt,
      ),
    );
    for (const key of shown[n].keys()) {
      const right = truth.get(key) ?? 0;
      if (right <= 0) continue; // what may be shown at zero depends on the order of things; differencesOf looks at it
      const shouldHave = right - (morning[n].get(key) ?? 0) - (sold.get(key) ?? 0);
      const surplus = (applied.get(key) ?? 0) - shouldHave;
      if (surplus === 0) continue;
      const deltas = records
        .filter((record) => record.cartId === shops[n].cartId && record.key === key)
        .map((record) => record.delta);
      const doubled =
        deltas.includes(surplus) || (!deltas.includes(-surplus) && Math.sign(surplus) === Math.sign(shouldHave));
      if (doubled) found.doubled += 1;
      else found.lost += 1;
      found.cases.push({ shop: shops[n].name, key, surplus, shouldHave, doubled });
    }
  }
  return found;
}

function sumsOf(/** @type {{key: string, delta: number}[]} */ changes) {
  const sums = new Map();
  for (const { key, delta } of changes) sums.set(key, (sums.get(key) ?? 0) + delta);
  return sums;
}

/** From acceptance to delivery, in ms, of records whose lane was green all the way; and how many others there were. */
export function latenciesOf(records, /** @type {import('./lane-watch.mjs').LaneWatch} */ lanes) {
  const delivered = records.filter((record) => record.state === 'delivered');
  const green = delivered.filter((record) => lanes.wasGreen(record));
  const times = green.map(timeOf).sort((a, b) => a - b);
  return {
    p50: at(times, 0.5),
    p99: at(times, 0.99),
    max: times.at(-1) ?? 0,
    counted: green.length,
    others: delivered.length - green.length,
  };
}

export const timeOf = (record) => Date.parse(record.endedAt) - Date.parse(record.acceptedAt);

function at(/** @type {number[]} */ sorted, /** @type {number} */ share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
