// The shop window: one page, no build step, no outside resources. It reads /stock every second and marks what changed.

import { createHash } from 'node:crypto';

const STYLE = `
:root { color-scheme: light dark; --line: light-dark(#dde2e8, #30363d); --soft: light-dark(#5b6672, #9aa5b1); --accent: light-dark(#0b6bcb, #5aa9ff); }
* { box-sizing: border-box; }
body { font: 16px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 46rem; padding: 1rem; background: light-dark(#fff, #14181d); color: light-dark(#1a2028, #e8edf2); }
header { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: baseline; justify-content: space-between; }
h1 { font-size: 1.35rem; margin: .25rem 0; }
p { color: var(--soft); margin: 0; min-height: 1.5em; }
input { font: inherit; width: 100%; padding: .6rem .75rem; margin: .75rem 0; border: 1px solid var(--line); border-radius: .5rem; background: transparent; color: inherit; }
ul { list-style: none; padding: 0; margin: 0; }
li { display: grid; grid-template-columns: 1fr auto auto; gap: .75rem; align-items: center; padding: .6rem .25rem; border-top: 1px solid var(--line); }
li span { overflow-wrap: anywhere; } small { display: block; color: var(--soft); }
b { font-variant-numeric: tabular-nums; min-width: 3ch; text-align: right; font-size: 1.1rem; border-radius: .3rem; padding: 0 .3rem; }
b.changed { animation: changed 2s ease-out; } b.none { color: light-dark(#b3261e, #ff8a80); }
@keyframes changed { from { background: light-dark(#ffe58a, #6b5600); } }
button { font: inherit; padding: .4rem .8rem; border: 0; border-radius: .5rem; background: var(--accent); color: light-dark(#fff, #0b1016); cursor: pointer; }
button:disabled { opacity: .4; cursor: default; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
@media (prefers-reduced-motion: reduce) { b.changed { animation: none; } }
`;

const SCRIPT = `
const list = document.querySelector('ul'), search = document.querySelector('input'), note = document.querySelector('p');
const rows = new Map(); const SHOWN_MAX = 200; let items = [];
function rowOf(item) {
  let row = rows.get(item.key);
  if (row) return row;
  const li = document.createElement('li'), name = document.createElement('span'), sku = document.createElement('small');
  const count = document.createElement('b'), button = document.createElement('button');
  name.textContent = item.title; sku.textContent = item.key; name.append(sku);
  button.textContent = 'Buy one'; button.dataset.key = item.key; button.setAttribute('aria-label', 'Buy one ' + item.title);
  button.onclick = () => buy(item.key);
  li.append(name, count, button); row = { li, count, button, quantity: null }; rows.set(item.key, row);
  return row;
}
function draw() {
  const wanted = search.value.trim().toLowerCase();
  const found = items.filter(i => (i.key + ' ' + i.title).toLowerCase().includes(wanted));
  const shown = found.slice(0, SHOWN_MAX).map(item => {
    const row = rowOf(item);
    if (row.quantity !== item.quantity) {
      row.count.textContent = item.quantity; row.count.classList.toggle('none', item.quantity <= 0);
      if (row.quantity !== null) { row.count.classList.remove('changed'); void row.count.offsetWidth; row.count.classList.add('changed'); }
      row.quantity = item.quantity; row.button.disabled = item.quantity <= 0;
    }
    return row.li;
  });
  if (shown.length !== list.children.length || shown.some((li, n) => list.children[n] !== li)) list.replaceChildren(...shown);
  document.querySelector('output').textContent = found.length + (found.length === 1 ? ' item' : ' items') + (found.length > SHOWN_MAX ? ', first ' + SHOWN_MAX + ' shown' : '');
}
async function refresh() {
  try { items = (await (await fetch('/stock')).json()).items; draw(); if (note.dataset.lost) { note.textContent = ''; delete note.dataset.lost; } }
  catch { note.textContent = 'The shop does not answer.'; note.dataset.lost = '1'; }
}
async function buy(key) {
  const response = await fetch('/buy', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ key, quantity: 1 }) });
  const answer = await response.json();
  note.textContent = response.ok ? 'Thank you. Order ' + answer.order.number + ': one ' + answer.order.lines[0].title + '.' : 'Sorry: ' + answer.error + '.';
  refresh();
}
search.oninput = draw; refresh(); setInterval(refresh, 1000);
`;

const hash = (/** @type {string} */ text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
const POLICY = `default-src 'none'; img-src data:; connect-src 'self'; style-src ${hash(STYLE)}; script-src ${hash(SCRIPT)}; base-uri 'none'; form-action 'none'; frame-ancestors 'self'`;

/** @returns {import('./shop-server.mjs').Answer} */
export function shopPage(/** @type {string} */ name) {
  const safe = name.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return {
    status: 200,
    headers: { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': POLICY },
    body: `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${safe}</title><link rel="icon" href="data:,"><style>${STYLE}</style></head>
<body><header><h1>${safe}</h1><output></output></header><input type="search" placeholder="Search by name or SKU" aria-label="Search by name or SKU">
<p role="status"></p><ul></ul><script>${SCRIPT}</script></body></html>
`,
  };
}
