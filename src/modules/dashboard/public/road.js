// The road: listens to the hub and draws what it says. One connection while the page is looked at, none while it is hidden.
import { count, duration, element, plural } from './elements.js';
import { get, post, signIn } from './hub-calls.js';
import { refreshItem, startItems } from './item-view.js';
import { growAges, laneView, phone } from './lane-view.js';
import { watchView } from './watch-view.js';

const byId = (id) => document.getElementById(id);
const itemEveryMs = 1_000;
const againAfterMs = 3_000;

let stream = null;
let caller = null;
/** The last picture, and how far the hub's clock is ahead of ours. */
let picture = null;
let clockAheadMs = 0;
let itemTimer = null;

connect();
startItems();
document.addEventListener('visibilitychange', () => (document.hidden ? disconnect() : connect()));
setInterval(() => picture && growAges(byId('lanes'), hubNow(), picture.promiseMs), 1_000);
phone.addEventListener('change', draw);

function connect() {
  if (stream !== null) return;
  stream = new EventSource('/v1/stream');
  stream.addEventListener('hello', ({ data }) => {
    caller = JSON.parse(data).caller;
    say('live', `live, signed in with “${caller.name}”`);
    draw();
  });
  stream.addEventListener('lanes', ({ data }) => {
    picture = JSON.parse(data);
    clockAheadMs = Date.parse(picture.at) - Date.now();
    trouble(null);
    draw();
    readItemAgain();
  });
  stream.addEventListener('trouble', ({ data }) => trouble(JSON.parse(data).detail));
  stream.addEventListener('error', onLost);
}

function disconnect() {
  stream?.close();
  stream = null;
}

/** Browsers connect again by themselves, except after an answer that was not a stream: a session that is over, or a 503. */
function onLost() {
  say('lost', 'connection lost, trying again …');
  if (stream?.readyState !== EventSource.CLOSED) return;
  disconnect();
  get('/v1/projector').catch((error) => error.status === 401 && signIn());
  setTimeout(() => document.hidden || connect(), againAfterMs);
}

function say(how, text) {
  byId('connection').className = `connection ${how}`;
  byId('connection').textContent = text;
}

const hubNow = () => Date.now() + clockAheadMs;

/** Not with every picture, but after the last one for certain. */
function readItemAgain() {
  itemTimer ??= setTimeout(async () => {
    await refreshItem();
    itemTimer = null;
  }, itemEveryMs);
}

/** What each lane was drawn from: one that did not change stays as it is, and so do its focus and what is selected in it. */
let drawnFrom = new Map();
/** While a button is held down nothing is redrawn, or the click would have lost its button. */
let pressing = false;
addEventListener('pointerdown', () => (pressing = true));
for (const end of ['pointerup', 'pointercancel'])
  addEventListener(end, () => {
    pressing = false;
    setTimeout(draw);
  });

function draw() {
  if (picture === null || pressing) return;
  const { lanes, promiseMs, latencyMinutes } = picture;
  const mayOperate = caller !== null && caller.scope !== 'read';
  const around = { now: hubNow(), promiseMs, latencyMinutes, mayOperate, ask };
  const from = new Map(lanes.map((lane) => [lane.cartId, JSON.stringify([lane, mayOperate, phone.matches])]));
  const sameLanes = lanes.length > 0 && [...from.keys()].join() === [...drawnFrom.keys()].join();
  if (!sameLanes) {
    byId('lanes').replaceChildren(...(lanes.length > 0 ? lanes.map((lane) => laneView(lane, around)) : [noCarts()]));
  } else {
    for (const lane of lanes)
      if (from.get(lane.cartId) !== drawnFrom.get(lane.cartId))
        replaceLane(laneOf(lane.cartId), laneView(lane, around));
  }
  drawnFrom = from;
  byId('summary').textContent = summary(lanes);
  drawProjector(picture.projector);
  drawRuns(picture.recomputeRuns);
  drawWatched(picture.equality, mayOperate);
}

let watchedFrom = '';
/** Sends, Gets, held pushes, drifts and refused flags; drawn anew only where they changed. */
function drawWatched(equality, mayOperate) {
  const from = JSON.stringify([equality, mayOperate]);
  if (from === watchedFrom) return;
  watchedFrom = from;
  const views = watchView(equality, { mayOperate, ask: askThat });
  byId('watched').replaceChildren(...views);
  byId('watched').hidden = views.length === 0;
}

const laneOf = (cartId) => byId('lanes').querySelector(`[data-cart="${cartId}"]`);

/** The keyboard's place is kept: the same link, or the lane's button. */
function replaceLane(old, made) {
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  old.replaceWith(made);
  if (focused === null) return;
  const href = focused.getAttribute('href');
  made.querySelector(href === null ? 'button' : `a[href="${href}"]`)?.focus();
}

function summary(lanes) {
  const green = lanes.filter(({ light }) => light === 'green').length;
  const waiting = lanes.reduce((sum, lane) => sum + lane.waiting, 0);
  return lanes.length === 0
    ? ''
    : `${green} of ${count(lanes.length)} green, ${plural(waiting, 'record waits', 'records wait')}`;
}

function noCarts() {
  return element(
    'p',
    { class: 'empty' },
    'No cart yet. Add one with ',
    element('code', {}, 'onhand carts add'),
    ' or ',
    element('code', {}, 'POST /v1/carts'),
    ' (',
    element('a', { href: '/docs' }, 'API'),
    '); it gets its lane here.',
  );
}

function drawProjector({ state, stopped, lagMs, lagFacts }) {
  if (state !== 'following' && stopped !== null) {
    banner('projector', 'bad', [
      element('strong', {}, 'The projector stands. '),
      `${stopped.type} (${stopped.stream}, version ${stopped.version}) could not be applied: ${stopped.error}. `,
      'Nothing is skipped and nothing reaches the carts until its cause is mended and it is resumed: ',
      element('a', { href: '/v1/projector' }, 'see why'),
    ]);
  } else if (lagMs > 0) {
    banner('projector', 'watch', [
      element('strong', {}, `The projector is ${duration(lagMs)} behind: `),
      `${plural(lagFacts, 'fact is', 'facts are')} not applied yet. `,
      element('a', { href: '/v1/projector' }, 'See what holds it'),
    ]);
  } else banner('projector', '', null);
}

function drawRuns(runs) {
  const run = runs.find(({ state }) => state === 'running');
  if (run === undefined) return banner('runs', '', null);
  const { done, total } = run.progress;
  banner('runs', 'watch', [
    element('strong', {}, 'A change of settings is on its way to its listings: '),
    total === null ? 'it begins. ' : `${count(done)} of ${count(total)} are looked at. `,
    element('a', { href: '/v1/recompute-runs' }, 'See all'),
  ]);
}

const trouble = (detail) => banner('trouble', 'bad', detail === null ? null : [detail]);

/** Changed only when its words change, or a screen reader would repeat it with every picture. */
function banner(name, how, content) {
  const old = document.querySelector(`[data-banner="${name}"]`);
  if (content === null) return old?.remove();
  const made = element('p', { class: `banner ${how}`, 'data-banner': name }, ...content);
  if (old === null) byId('banners').append(made);
  else if (old.textContent !== made.textContent) old.replaceWith(made);
}

/** What the dialog asks about. */
let asked = null;
byId('ask-no').addEventListener('click', () => byId('ask').close());
byId('ask').addEventListener('close', () => laneOf(asked.cartId)?.querySelector('button')?.focus());
byId('ask-form').addEventListener('submit', doAsked);

/** Asks whether it is meant. */
function ask(action, lane) {
  const pausing = action === 'pause';
  askThat({
    title: pausing ? `Pause ${lane.name}?` : `Resume ${lane.name}?`,
    text: pausing
      ? 'Red light: nothing is sent to this cart until somebody resumes it. What changes meanwhile waits and is merged.'
      : `Green light: ${plural(lane.waiting, 'record goes', 'records go')} to the cart, merged per item.`,
    preview: pausing ? null : `/v1/carts/${lane.cartId}/web-stack/net`,
    yes: pausing ? 'Pause' : 'Resume',
    mayReason: pausing,
    path: `/v1/carts/${lane.cartId}/${action}`,
    body: (reason) => (reason === '' ? undefined : { reason }),
    cartId: lane.cartId,
  });
}

/**
 * @param {{ title: string, text: string, yes: string, path: string, body: (reason: string) => object | undefined,
 *           mayReason?: boolean, needsReason?: boolean, preview?: string | null, cartId?: string }} question
 */
function askThat(question) {
  asked = question;
  const { title, text, yes, mayReason = false, needsReason = false, preview = null } = question;
  byId('ask-title').textContent = title;
  byId('ask-text').replaceChildren(
    text,
    ...(preview === null ? [] : [' ', element('a', { href: preview, target: '_blank' }, 'See the sums per listing')]),
  );
  byId('ask-reason-row').hidden = !mayReason && !needsReason;
  byId('ask-reason').required = needsReason;
  byId('ask-reason').value = '';
  byId('ask-yes').textContent = yes;
  byId('ask-wrong').hidden = true;
  byId('ask').showModal();
}

/** The stream tells what came of it. */
async function doAsked(event) {
  event.preventDefault();
  const reason = byId('ask-reason-row').hidden ? '' : byId('ask-reason').value.trim();
  try {
    await post(asked.path, asked.body(reason));
    byId('ask').close();
  } catch (error) {
    byId('ask-wrong').textContent = error.message;
    byId('ask-wrong').hidden = false;
  }
}
