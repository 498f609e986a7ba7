// After the day: everything is gathered, compared, told and summed up.
import { setTimeout as sleep } from 'node:timers/promises';
import { printDeadLetters, printLatency, printProof, printTable, printTrace, endedWell, summaryOf } from './report.mjs';
import { differencesOf, gather, latenciesOf, lostAndDoubled } from './verdict.mjs';

export async function conclude({ hub, both, model, morning, openedAt, lanes, outage, kill, screen, beside }) {
  const opened = new Date(openedAt).toISOString();
  const records = (await hub.list('/v1/web-stack')).filter((record) => record.acceptedAt >= opened);
  addTakeovers(lanes, kill, records);
  const verdict = await gather({ hub, shops: both, model, records });
  const differences = differencesOf(verdict);
  const proof = lostAndDoubled(verdict, morning, both, openedAt);
  const latency = latenciesOf(records, lanes);
  screen.line(`  ${kill.sentence(await kill.aftermath(records), proof)}`);
  await printTrace(screen, hub, records, both);
  printLatency(screen, latency, outage);
  printDeadLetters(screen, verdict.deadLetters, verdict.quarantined);
  printTable(screen, verdict, both, differences);
  printProof(screen, proof, verdict);
  const verified = await verify(hub);
  screen.line(`  verified: ${verified.verdict}`);
  const naive = (await beside?.conclude(screen)) ?? null;
  const summary = summaryOf({ verdict, differences, proof, latency, outage, model, kill, naive, verified });
  return { summary, well: endedWell(summary, verdict.deadLetters) };
}

/** The hub's own proof, beside the demo's: all that it stores follows from its log. */
async function verify(hub) {
  let run = await hub.change('POST', '/v1/projections/verify', {});
  for (; run.state === 'running'; run = await hub.get(run.statusUrl)) await sleep(50);
  return run;
}

const endOf = (record) => Date.parse(record.endedAt);

/**
 * A lane stands still from the kill until a worker has taken it over, which shows in its first delivery after that. What
 * was accepted by then waits in line; and a listing with something in doubt waits until that is settled.
 */
function addTakeovers(lanes, kill, /** @type {any[]} */ records) {
  const killed = new Date(kill.killedAt).toISOString();
  const back = new Date(kill.backAt).toISOString();
  for (const cartId of new Set(records.map((record) => record.cartId))) {
    const later = records.filter(
      (record) => record.cartId === cartId && record.state === 'delivered' && record.endedAt > back,
    );
    const taken = Math.min(...later.map(endOf), Number.POSITIVE_INFINITY);
    const from = kill.killedAt;
    if (Number.isFinite(taken)) {
      const queued = later.filter((record) => Date.parse(record.acceptedAt) <= taken && !kill.inFlight.has(record.id));
      lanes.add({ cartId, key: null, from, to: Math.max(taken, ...queued.map(endOf)) });
    } else {
      lanes.add({ cartId, key: null, from, to: kill.backAt });
    }
    for (const { key, endedAt } of later.filter((record) => record.acceptedAt <= killed)) {
      lanes.add({ cartId, key, from, to: Date.parse(endedAt) });
    }
  }
}
