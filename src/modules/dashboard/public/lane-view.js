// One cart as a lane of a road: its traffic light, the cars that wait, what is under way, and the numbers.
import { count, duration, element, moment, plural, signed } from './elements.js';

const lights = {
  green: 'Green: changes go through',
  amber: 'Amber: the lane backs off',
  red: 'Red: paused',
  off: 'Off: nothing is sent',
};
/** As in road.css. */
export const phone = matchMedia('(max-width: 560px)');

/**
 * @param {object} lane as GET /v1/stream tells it
 * @param {{ now: number, promiseMs: number, latencyMinutes: number, mayOperate: boolean,
 *           ask: (action: 'pause' | 'resume', lane: object) => void }} around `now`: the hub's clock, ms
 */
export function laneView(lane, around) {
  const titleId = `lane-${lane.cartId}`;
  return element(
    'article',
    { class: `lane ${lane.light}`, 'aria-labelledby': titleId, 'data-cart': lane.cartId },
    element(
      'header',
      {},
      element(
        'div',
        { class: 'who' },
        element('h3', { id: titleId }, lane.name),
        element('p', { class: 'quiet' }, lane.cartId),
      ),
      element(
        'p',
        { class: 'light-words' },
        element('strong', {}, lights[lane.light]),
        lane.why === null ? null : element('span', {}, lane.why),
      ),
      button(lane, around),
    ),
    road(lane),
    numbers(lane, around),
    cadenceView(lane),
    firstRecord(lane, around),
  );
}

function button(lane, { mayOperate, ask }) {
  if (!mayOperate || lane.light === 'off') return null;
  const action = lane.paused === null ? 'pause' : 'resume';
  const words = action === 'pause' ? 'Pause' : 'Resume';
  return element(
    'button',
    { type: 'button', class: action, 'aria-label': `${words} ${lane.name}`, click: () => ask(action, lane) },
    words,
  );
}

/** Drawn for the eye; whoever cannot see it has the same in the numbers below. */
function road(lane) {
  const shownMax = phone.matches ? 8 : 20;
  const shown = Math.min(lane.waiting, shownMax);
  const more = lane.waiting - shown;
  const cars = (n, kind) => Array.from({ length: n }, () => car(kind));
  return element(
    'div',
    {
      class: 'road',
      role: 'img',
      'aria-label': `${plural(lane.waiting, 'record waits', 'records wait')}, ${count(lane.inFlight)} in flight, light ${lane.light}`,
    },
    element(
      'div',
      { class: 'queue' },
      more > 0 ? element('span', { class: 'more' }, `+${count(more)}`) : null,
      ...cars(shown, 'waits'),
    ),
    element(
      'div',
      { class: 'light' },
      ...['red', 'amber', 'green'].map((lamp) =>
        element('i', { class: lamp === lane.light ? `lamp ${lamp} lit` : `lamp ${lamp}` }),
      ),
    ),
    element(
      'div',
      { class: 'beyond' },
      ...cars(Math.min(lane.inFlight, phone.matches ? 3 : 6), 'goes'),
      ...cars(Math.min(lane.inDoubt, 3), 'doubted'),
      element('span', { class: 'shop' }, 'shop'),
    ),
  );
}

const svg = 'http://www.w3.org/2000/svg';

function car(kind) {
  const drawing = document.createElementNS(svg, 'svg');
  drawing.setAttribute('viewBox', '0 0 24 14');
  drawing.setAttribute('class', `car ${kind}`);
  const body = document.createElementNS(svg, 'path');
  body.setAttribute('d', 'M1 10V7.6L4.2 7 7 3h8l4 4 3.4.8c.4.1.6.4.6.8V10z');
  drawing.append(body);
  for (const x of [6.5, 17.5]) {
    const wheel = document.createElementNS(svg, 'circle');
    wheel.setAttribute('cx', x);
    wheel.setAttribute('cy', 10.5);
    wheel.setAttribute('r', 2.3);
    drawing.append(wheel);
  }
  return drawing;
}

function numbers(lane, { now, promiseMs, latencyMinutes }) {
  const { latency } = lane;
  const over = latency !== null && latency.p99Ms !== null && latency.p99Ms > promiseMs;
  const times = latency === null || latency.records === 0;
  return element(
    'dl',
    { class: 'numbers' },
    number('waiting', count(lane.waiting)),
    number('oldest', oldestView(lane, now), isLate(lane, now, promiseMs) ? 'bad' : ''),
    number('in flight', count(lane.inFlight)),
    number('in doubt', count(lane.inDoubt), lane.inDoubt > 0 ? 'watch' : ''),
    number(
      'quarantined',
      linked(lane.quarantined, `/v1/quarantined?cart=${lane.cartId}`),
      lane.quarantined ? 'bad' : '',
    ),
    number(
      'dead letters',
      linked(lane.deadLettered, `/v1/dead-letters?cart=${lane.cartId}`),
      lane.deadLettered ? 'bad' : '',
    ),
    element(
      'div',
      { class: over ? 'wide bad' : 'wide' },
      element('dt', {}, `p50 / p99, last ${latencyMinutes} min`),
      element(
        'dd',
        {},
        times
          ? element('span', { class: 'quiet' }, 'nothing delivered')
          : `${duration(latency.p50Ms)} / ${duration(latency.p99Ms)}`,
        times ? null : promiseMeter(latency, promiseMs),
      ),
    ),
  );
}

/** The p99 against the promise. */
function promiseMeter(latency, promiseMs) {
  const words = `99 of 100 within ${duration(latency.p99Ms)}; promised: ${duration(promiseMs)}`;
  const meter = element('meter', { min: 0, max: promiseMs, high: promiseMs * 0.75, optimum: 0, title: words });
  meter.setAttribute('aria-label', words);
  meter.value = Math.min(latency.p99Ms, promiseMs);
  return element('span', { class: 'of-promise' }, meter, ` of ${duration(promiseMs)}`);
}

const number = (name, value, how = '') =>
  element('div', { class: how }, element('dt', {}, name), element('dd', {}, value));
const linked = (n, href) => (n === 0 ? '0' : element('a', { href }, count(n)));

const ageOf = (iso, now) => Math.max(0, now - Date.parse(iso));
const isLate = (lane, now, promiseMs) => lane.oldestWaitingAt !== null && ageOf(lane.oldestWaitingAt, now) > promiseMs;

function oldestView(lane, now) {
  if (lane.oldestWaitingAt === null) return '–';
  return element('span', { 'data-since': lane.oldestWaitingAt }, duration(ageOf(lane.oldestWaitingAt, now)));
}

/** Called each second, so that ages grow without the hub saying so. */
export function growAges(root, now, promiseMs) {
  for (const age of root.querySelectorAll('[data-since]')) {
    const ms = ageOf(age.dataset.since, now);
    age.textContent = duration(ms);
    age.closest('div').classList.toggle('bad', ms > promiseMs);
  }
}

/** When a cart is told that is not told at once, and how much waits for it. */
function cadenceView({ cadence, paced, nextMomentAt, cartId }) {
  if (cadence.kind === 'real-time') return null;
  const when =
    cadence.kind === 'on-demand'
      ? ['Told on demand']
      : ['Told by ', element('code', {}, cadence.pattern), `, ${cadence.timeZone}; next `, moment(nextMomentAt)];
  return element(
    'p',
    { class: 'cadence' },
    ...when,
    ': ',
    paced === 0
      ? 'nothing waits for it.'
      : element(
          'a',
          { href: `/v1/carts/${cartId}/web-stack/net` },
          `${plural(paced, 'record waits', 'records wait')} for it.`,
        ),
  );
}

/** What the Web Stack's first record says, when the light or the time makes one ask. */
function firstRecord(lane, { now, promiseMs }) {
  const { first } = lane;
  if (first === null) return null;
  const next = lane.light === 'amber' ? lane.nextProbeAt : first.notBefore;
  return element(
    'div',
    { class: 'first' },
    element(
      'p',
      {},
      element('span', { class: 'quiet' }, `First record (${first.state}): `),
      element('strong', {}, `${signed(first.delta)} × ${first.sku}`),
      ` shall show ${count(first.target)} · `,
      element('a', { href: `/v1/web-stack/${first.id}` }, plural(first.attempts, 'attempt', 'attempts')),
      next !== null && Date.parse(next) > now ? element('span', {}, ' · next try ', moment(next)) : null,
    ),
    first.lastResponse === null
      ? null
      : element('p', {}, element('span', { class: 'quiet' }, 'Last response: '), element('q', {}, first.lastResponse)),
    isLate(lane, now, promiseMs) && lane.light === 'green'
      ? element('p', { class: 'wrong' }, `Waits longer than the promised ${duration(promiseMs)}.`)
      : null,
  );
}
