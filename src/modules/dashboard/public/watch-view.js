// What both sides being equal needs people for: Sends and Gets under way, what the guard holds, reset files that wait, what differs, and flags that carts refuse.
import { count, duration, element, plural } from './elements.js';

/**
 * @param {{ runs: object[], pushes: object[], drifts: object[], flags: object[], resets: object[] }} equality as GET /v1/stream tells it
 * @param {{ mayOperate: boolean, ask: (question: object) => void }} around
 * @returns {Node[]} nothing where nobody is needed
 */
export function watchView({ runs, pushes, drifts, flags, resets }, around) {
  return [
    ...pushes.map((push) => pushView(push, around)),
    ...resets.map((file) => resetView(file, around)),
    ...runs.map((run) => runView(run, around)),
    driftsView(drifts),
    flagsView(flags),
  ].filter((view) => view !== null);
}

function pushView({ push, cartId, title, why, changed }, { mayOperate, ask }) {
  const decide = (verdict, words, text) => () =>
    ask({
      title: `${words} at ${cartId}?`,
      text,
      yes: words,
      needsReason: true,
      path: '/v1/pushes/decide',
      body: (reason) => ({ push, cartId, verdict, reason }),
    });
  const href = `/v1/pushes/preview?push=${encodeURIComponent(push)}&cart=${encodeURIComponent(cartId)}`;
  return element(
    'article',
    { class: 'watched held', 'data-push': push },
    element('p', {}, element('strong', {}, `Held at ${cartId}: `), `${title}. ${why ?? ''}.`),
    element('p', {}, element('a', { href }, plural(changed, 'listing would change', 'listings would change'))),
    mayOperate
      ? element(
          'p',
          { class: 'buttons' },
          element(
            'button',
            { type: 'button', click: decide('let-through', 'Let through', 'All of it goes to the cart.') },
            'Let through',
          ),
          element(
            'button',
            {
              type: 'button',
              class: 'plain',
              click: decide('rejected', 'Reject', 'None of it is sent.'),
            },
            'Reject',
          ),
        )
      : null,
  );
}

function resetView({ id, source, name, why }, { mayOperate, ask }) {
  const decide = (verb, words, text, reasoned) => () =>
    ask({
      title: `${words} ${name}?`,
      text,
      yes: words,
      needsReason: reasoned,
      path: `/v1/reset-files/${id}/${verb}`,
      body: (reason) => (reasoned ? { reason } : undefined),
    });
  const button = (words, attributes, click) => element('button', { type: 'button', ...attributes, click }, words);
  return element(
    'article',
    { class: 'watched held', 'data-reset': id },
    element('p', {}, element('strong', {}, `Held, reset file ${name} of ${source}: `), why ?? ''),
    element('p', {}, element('a', { href: `/v1/reset-files/${id}` }, 'What it would change')),
    mayOperate
      ? element(
          'p',
          { class: 'buttons' },
          button('Apply', {}, decide('apply', 'Apply', 'Stock becomes what the file says, as of its moment.', false)),
          button('Reject', { class: 'plain' }, decide('reject', 'Reject', 'Nothing of it is applied.', true)),
        )
      : null,
  );
}

function runView(run, { mayOperate, ask }) {
  // A held one stands above, as the push that it is held by.
  if (run.state === 'held') return null;
  const { id, cartId, direction, phase, preview, progress, error } = run;
  const { done, total, perSecond, secondsLeft } = progress;
  const what = direction === 'send' ? `Send QOH to ${cartId}` : `Get QOH from ${cartId}`;
  const words = phase === 'looking' ? 'looking at what would change' : 'making listings equal';
  const bar = element('progress', { max: total ?? 1, value: total === null ? null : done, 'aria-label': what });
  return element(
    'article',
    { class: 'watched', 'data-run': id },
    element('p', {}, element('strong', {}, what), `${preview ? ' (preview)' : ''}, asked for by ${run.by}: ${words}`),
    element(
      'p',
      { class: 'quiet' },
      bar,
      ` ${count(done)} of ${total === null ? '…' : count(total)}`,
      perSecond === null ? null : `, ${count(Math.round(perSecond))} a second`,
      secondsLeft === null ? null : `, ${duration(secondsLeft * 1000)} left`,
    ),
    error === null ? null : element('p', { class: 'wrong' }, `It stumbled, and tries again: ${error}`),
    mayOperate
      ? element(
          'button',
          {
            type: 'button',
            class: 'plain',
            'aria-label': `Cancel: ${what}`,
            click: () =>
              ask({
                title: `Cancel: ${what}?`,
                text: 'Nothing more of it is begun. What was made equal stays so, and what is owed by then goes.',
                yes: 'Cancel it',
                needsReason: false,
                path: `/v1/qoh-runs/${id}/cancel`,
                body: () => undefined,
              }),
          },
          'Cancel',
        )
      : null,
  );
}

function driftsView(drifts) {
  const found = drifts.filter(({ open }) => open > 0);
  if (found.length === 0) return null;
  return element(
    'article',
    { class: 'watched drifts' },
    element('p', {}, element('strong', {}, 'Carts that show something else than they should')),
    element(
      'ul',
      {},
      ...found.map(({ cartId, open, parked }) =>
        element(
          'li',
          {},
          `${cartId}: `,
          element('a', { href: `/v1/drifts?open=true&cart=${cartId}` }, plural(open, 'listing', 'listings')),
          parked === 0
            ? null
            : element(
                'span',
                { class: 'wrong' },
                ', ',
                element('a', { href: `/v1/drifts?state=parked&cart=${cartId}` }, `${count(parked)} parked`),
                ': corrected too often, a person has to look',
              ),
        ),
      ),
    ),
  );
}

/** Asked again once an hour; only what the cart says tells a person what to mend. */
function flagsView(flags) {
  if (flags.length === 0) return null;
  return element(
    'article',
    { class: 'watched flags' },
    element('p', {}, element('strong', {}, 'Carts that refuse to hide or show items')),
    element(
      'ul',
      {},
      ...flags.map(({ cartId, refused }) =>
        element(
          'li',
          {},
          `${cartId}: `,
          element('a', { href: `/v1/refused-flags?cart=${cartId}` }, plural(refused, 'item', 'items')),
        ),
      ),
    ),
  );
}
