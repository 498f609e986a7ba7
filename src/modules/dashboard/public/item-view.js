// The search box, and what it opens: an item's numbers and its ledger.
import { count, element, moment, plural, signed } from './elements.js';
import { get } from './hub-calls.js';

const typingPauseMs = 180;
const ledgerPage = 20;

const query = document.getElementById('query');
const found = document.getElementById('found');
const panel = document.getElementById('item');
/** The SKU that is open, and whether older pages of its ledger were asked for. */
let open = null;
/** Read again often, drawn only when it changed. */
let drawnFrom = null;

export function startItems() {
  let typing;
  query.addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(search, typingPauseMs);
  });
  document.getElementById('search').addEventListener('submit', async (event) => {
    event.preventDefault();
    clearTimeout(typing);
    await search();
    found.querySelector('a')?.click();
  });
  query.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') hideFound();
    if (event.key === 'ArrowDown') move(event, found.querySelector('a'));
  });
  found.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      hideFound();
      query.focus();
    }
    const at = event.target.closest('li');
    if (event.key === 'ArrowDown') move(event, at?.nextElementSibling?.querySelector('a'));
    if (event.key === 'ArrowUp') move(event, at?.previousElementSibling?.querySelector('a') ?? query);
  });
  addEventListener('hashchange', openFromAddress);
  void openFromAddress();
}

/** Stock may have moved: reads the numbers again, but leaves a ledger alone in which somebody went back. */
export async function refreshItem() {
  if (open !== null && !open.wentBack) await show(open.sku);
}

function move(event, to) {
  if (!to) return;
  event.preventDefault();
  to.focus();
}

function hideFound() {
  found.hidden = true;
  found.replaceChildren();
}

async function search() {
  const text = query.value.trim();
  if (text === '') return hideFound();
  let rows;
  try {
    rows = (await get(`/v1/search?q=${encodeURIComponent(text)}`)).data;
  } catch (error) {
    found.replaceChildren(element('li', { class: 'wrong' }, error.message));
    found.hidden = false;
    return;
  }
  // An answer that was overtaken by more typing is not shown.
  if (query.value.trim() !== text) return;
  const entries = rows.map(({ sku, title }) =>
    element('li', {}, element('a', { href: address(sku), click: hideFound }, element('strong', {}, sku), ` ${title}`)),
  );
  found.replaceChildren(
    ...(entries.length > 0 ? entries : [element('li', { class: 'quiet' }, `Nothing begins with “${text}”.`)]),
  );
  found.hidden = false;
}

const address = (sku) => `#item=${encodeURIComponent(sku)}`;

async function openFromAddress() {
  const match = /^#item=(.+)$/.exec(location.hash);
  if (match === null) {
    open = null;
    panel.hidden = true;
    return;
  }
  await show(decodeURIComponent(match[1]));
}

async function show(sku) {
  open = { sku, wentBack: false };
  const path = `/v1/items/${encodeURIComponent(sku)}`;
  try {
    const [item, ledger] = await Promise.all([get(path), get(`${path}/ledger?limit=${ledgerPage}`)]);
    const text = JSON.stringify([item, ledger]);
    if (open?.sku !== sku || (text === drawnFrom && !panel.hidden)) return;
    const hadFocus = panel.contains(document.activeElement);
    panel.replaceChildren(...parts(item, ledger, path));
    drawnFrom = text;
    if (hadFocus) panel.querySelector('.close').focus();
  } catch (error) {
    if (open?.sku !== sku) return;
    drawnFrom = null;
    panel.replaceChildren(closeButton(), element('p', { class: 'wrong' }, error.message));
  }
  panel.hidden = false;
}

function closeButton() {
  const close = () => {
    history.replaceState(null, '', location.pathname);
    void openFromAddress();
    query.focus();
  };
  return element('button', { type: 'button', class: 'plain close', 'aria-label': 'Close the item', click: close }, '×');
}

function parts(item, ledger, path) {
  return [
    closeButton(),
    element('h2', {}, item.sku, ' ', element('span', { class: 'quiet' }, item.title)),
    element(
      'p',
      {},
      element('strong', {}, count(item.onHand)),
      ` on hand, ${plural(item.open, 'piece', 'pieces')} in open orders`,
    ),
    element(
      'div',
      { class: 'tables' },
      table('Where it is', ['location', 'on hand', 'open'], item.locations, (row) => [
        row.location,
        count(row.onHand),
        count(row.open),
      ]),
      table('What carts show', ['cart', 'target', 'expected', 'owed', 'shown'], item.listings, (row) => [
        element('span', {}, row.cartName ?? row.cartId, ...notes(row)),
        number(row.target),
        number(row.expected),
        row.owed === 0 ? '0' : signed(row.owed),
        number(row.shown),
      ]),
    ),
    ledgerView(ledger, path),
  ];
}

const number = (n) => (n === null ? '–' : count(n));

function notes(row) {
  const said = [];
  if (row.unlisted === 'not-found') said.push('the cart does not list it');
  if (row.unlisted === 'not-tracked') said.push('the cart does not track it');
  if (!row.synchronised) said.push('not synchronised');
  return said.map((text) => element('small', { class: 'watch' }, ` ${text}`));
}

const ledgerHead = ['when', 'what', 'change', 'balance', 'location', 'reason', 'reference'];

function ledgerView(ledger, path) {
  const view = table('Ledger', ledgerHead, ledger.data, ledgerRow);
  view.classList.add('ledger');
  const more = element('button', { type: 'button', class: 'plain' }, 'Older');
  more.hidden = ledger.nextCursor === null;
  let cursor = ledger.nextCursor;
  more.addEventListener('click', async () => {
    if (open !== null) open.wentBack = true;
    try {
      const older = await get(`${path}/ledger?limit=${ledgerPage}&cursor=${encodeURIComponent(cursor)}`);
      view.querySelector('tbody').append(...older.data.map((row) => tableRow(ledgerRow(row), ledgerHead)));
      cursor = older.nextCursor;
      more.hidden = cursor === null;
    } catch (error) {
      more.textContent = `Older (${error.message})`;
    }
  });
  view.append(more);
  return view;
}

function ledgerRow(row) {
  const when = element('span', {}, moment(row.occurredAt));
  // Recorded noticeably later than it happened: both times matter to whoever looks for a difference.
  if (Math.abs(Date.parse(row.recordedAt) - Date.parse(row.occurredAt)) > 60_000)
    when.append(element('small', { class: 'quiet' }, ' recorded ', moment(row.recordedAt)));
  const { reference } = row;
  const line = reference?.line ? ` line ${reference.line}` : '';
  return [
    when,
    row.type.replace(/(?<=[a-z])(?=[A-Z])/g, ' ').toLowerCase(),
    signed(row.delta),
    count(row.balance),
    row.location,
    row.reason ?? '',
    reference ? `${reference.kind} ${reference.number}${line}` : '',
  ];
}

function table(caption, heads, rows, cells) {
  const body =
    rows.length > 0
      ? rows.map((row) => tableRow(cells(row), heads))
      : [element('tr', {}, element('td', { colspan: heads.length, class: 'quiet' }, 'nothing yet'))];
  return element(
    'div',
    { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption },
    element(
      'table',
      {},
      element('caption', {}, caption),
      element(
        'thead',
        {},
        element('tr', {}, ...heads.map((head) => element('th', { scope: 'col', class: kind(head) }, head))),
      ),
      element('tbody', {}, ...body),
    ),
  );
}

const tableRow = (cells, heads) =>
  element('tr', {}, ...cells.map((cell, i) => element('td', { class: kind(heads[i]) }, cell)));
const numeric = new Set(['on hand', 'open', 'target', 'expected', 'owed', 'shown', 'change', 'balance']);
const kind = (head) => (numeric.has(head) ? 'n' : null);
