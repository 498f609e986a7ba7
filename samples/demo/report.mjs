// The closing of the day, for a person and for a program.
import { UNKNOWN_AT_B } from './catalogue.mjs';
import { signed } from './outage.mjs';
import { plural, seconds } from './screen.mjs';
import { timeOf } from './verdict.mjs';

const ROWS_SHOWN = 9;
const DIFFERENCES_SHOWN = 20;

/** The one JSON object of --json, and what everything printed is taken from. */
export function summaryOf({ verdict, differences, proof, latency, outage, model, kill, naive, verified }) {
  const deliveries = new Set(
    verdict.records.filter((record) => record.state === 'delivered').map((record) => record.deliveryId),
  );
  const soldLines = verdict.orders.flat().reduce((sum, { lines }) => sum + lines.length, 0);
  return {
    agree: differences.length === 0 && proof.lost === 0 && proof.doubled === 0,
    verified: verified.state === 'done' && verified.found === 0,
    changes: model.changes + soldLines,
    deliveries: deliveries.size,
    latencyMs: { p50: latency.p50, p99: latency.p99, max: latency.max },
    outage: {
      seconds: Number(((outage.upAt - outage.downAt) / 1000).toFixed(1)),
      records: latency.others,
      catchUpMs: outage.caughtUpAt - outage.upAt,
    },
    kills: kill.killedAt > 0 ? 1 : 0,
    backInMs: kill.backAt - kill.killedAt,
    lost: proof.lost,
    doubled: proof.doubled,
    quarantined: verdict.quarantined.length,
    deadLetters: verdict.deadLetters.length,
    ...(naive !== null && { beside: naive }),
  };
}

/** Whether the day ended as it must: everything agrees and only the unknown item is left over. */
export function endedWell(summary, /** @type {any[]} */ deadLetters) {
  const onlyUnknown = deadLetters.length === 1 && deadLetters[0].key === UNKNOWN_AT_B;
  return summary.agree && summary.verified && onlyUnknown && summary.quarantined === 0;
}

export function printTable(screen, { truth, onHand, shown }, shops, differences) {
  screen.heading('Who shows what');
  const differing = new Set(differences.map(({ sku }) => sku));
  const picked = [...truth.keys()]
    .filter((sku) => /[^A-Z0-9-]|^0/.test(sku) || sku === UNKNOWN_AT_B)
    .slice(0, ROWS_SHOWN);
  const skus = differing.size > 0 ? [...differing].slice(0, DIFFERENCES_SHOWN) : picked;
  const sum = (stock) => [...stock.values()].reduce((total, quantity) => total + quantity, 0);
  const cell = (quantity) => quantity ?? 'not listed';
  screen.table([
    ['SKU', 'should be', 'hub', ...shops.map(({ name }) => name)],
    ...skus.map((sku) => [sku, truth.get(sku), cell(onHand.get(sku)), ...shown.map((stock) => cell(stock.get(sku)))]),
    [`all ${truth.size} items`, sum(truth), sum(onHand), ...shown.map(sum)],
  ]);
  if (differences.length === 0) screen.line(`  ${screen.paint('green', 'all carts agree')}`);
  else screen.line(`  ${screen.paint('red', plural(differences.length, 'item differs', 'items differ'))}`);
}

export function printProof(screen, proof, { journals }) {
  const entries = journals.reduce((sum, journal) => sum + journal.length, 0);
  screen.line(
    `  journals of both shops (${plural(entries, 'entry', 'entries')}) against the day’s account: ${proof.lost} lost, ${proof.doubled} doubled`,
  );
  for (const { shop, key, surplus, shouldHave, doubled } of proof.cases.slice(0, DIFFERENCES_SHOWN)) {
    screen.line(
      `    ${shop} ${key}: ${signed(surplus)} beside the ${signed(shouldHave)} it should have got (${doubled ? 'doubled' : 'lost'})`,
    );
  }
}

export function printLatency(screen, latency, outage) {
  screen.heading('How long changes took');
  screen.line(
    `  accepted by the API → at the shop, lane green all the way: p50 ${latency.p50} ms, p99 ${latency.p99} ms, max ${latency.max} ms (${plural(latency.counted, 'record')})`,
  );
  screen.line(
    `  met a lane or a hub that was down: ${plural(latency.others, 'record')}; shop B was away for ${seconds(outage.upAt - outage.downAt)} and caught up in ${seconds(outage.caughtUpAt - outage.upAt)}`,
  );
}

/** One change on its way to both shops, hop by hop. */
export async function printTrace(screen, hub, records, shops) {
  const sku = '00417';
  const ways = [];
  for (const shop of shops) {
    const first = records.findLast(
      (record) => record.cartId === shop.cartId && record.sku === sku && record.state === 'delivered',
    );
    if (first !== undefined) ways.push({ shop, record: first });
  }
  if (ways.length === 0) return;
  screen.heading('One change, every hop');
  for (const { shop, record } of ways) {
    const { hops } = await hub.get(`/v1/web-stack/${record.id}`);
    screen.line(`  ${signed(record.delta)} × ${sku} to ${shop.name}, record ${record.id}: ${timeOf(record)} ms`);
    screen.table(
      hops.map((hop) => [hop.name, `+${hop.ms} ms`, shorten(hop.about ?? '')]),
      '    ',
    );
  }
}

export function printDeadLetters(screen, /** @type {any[]} */ deadLetters, /** @type {any[]} */ quarantined) {
  screen.heading('What waits for a person');
  for (const letter of deadLetters) {
    screen.line(
      `  dead letter  ${letter.cartId}  ${letter.key}: ${signed(letter.delta)} (${plural(letter.records, 'record')}), ${letter.lastResponse}`,
    );
  }
  for (const line of quarantined)
    screen.line(
      `  ${screen.paint('red', 'quarantined')}  ${line.cartId}  ${line.key}: ${signed(line.delta)}, ${line.response}`,
    );
  if (deadLetters.length + quarantined.length === 0) screen.line('  nothing');
}

const shorten = (/** @type {string} */ text) => (text.length > 90 ? `${text.slice(0, 89)}…` : text);
