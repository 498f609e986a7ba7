// A sample shop that speaks the Stone Edge shopping-cart script protocol at /seti.php.
//
//   node samples/shops/seti-shop.mjs --port 0 --dir DIR --name "Shop A" --user stoneedge --password secret [--code main]
//
// The password may come from SHOP_PASSWORD instead. Selling takes the pieces at once; orders count upward from 1001.

import { spend, startShop } from './shop-server.mjs';

/** @typedef {import('./shop-server.mjs').Shop} Shop */

const SCRIPT_VERSION = '1.245';
const BATCH_DEFAULT = 100;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

startShop(
  {
    path: '/seti.php',
    restocksOnCancel: false,
    writes: (_shop, request, body) =>
      ['invupdate', 'qohreplace'].includes(fields(request, body).get('setifunction') ?? ''),
    serve: async (shop, request, body) => serve(shop, fields(request, body)),
  },
  { user: 'stoneedge', password: process.env.SHOP_PASSWORD ?? 'sample-password', code: '' },
);

/** Official scripts read the query and the form alike. */
function fields(/** @type {import('node:http').IncomingMessage} */ request, /** @type {Buffer} */ body) {
  const { searchParams } = new URL(request.url ?? '/', 'http://shop');
  for (const [name, value] of new URLSearchParams(body.toString('utf8'))) searchParams.set(name, value);
  return searchParams;
}

async function serve(/** @type {Shop} */ shop, /** @type {URLSearchParams} */ form) {
  const name = form.get('setifunction');
  if (name === 'sendversion') return text(`SETIResponse: version=${SCRIPT_VERSION}`);
  const { user, password, code } = shop.options;
  if (form.get('setiuser') !== user || form.get('password') !== password || (form.get('code') ?? '') !== code) {
    return text('SETIError: Access denied. Please check your login and store code (if provided).');
  }
  switch (name) {
    case 'ordercount':
      return text(`SETIResponse: ordercount=${ordersAfter(shop, form).length}`);
    case 'getproductscount':
      return text(`SETIResponse: itemcount=${shop.store.items().length}`);
    case 'getcustomerscount':
      return text('SETIResponse: itemcount=0');
    case 'downloadcustomers':
      return xml('SETICustomers', []);
    case 'downloadqoh':
    case 'downloadprods':
      return xml(
        'SETIProducts',
        page(shop.store.items(), form).map((item) => product(shop, item, name === 'downloadprods')),
      );
    case 'downloadorders':
      return xml('SETIOrders', page(ordersAfter(shop, form), form).map(order));
    case 'qohreplace':
      return replaceQuantities(shop, form);
    case 'invupdate':
      return updateQuantity(shop, form);
    default:
      return text(`SETIError: Function "${name}" was not found.`);
  }
}

/** Adds a delta to one item: `update=SKU~-3`. A SKU may itself hold a `~`, so the last one splits. */
async function updateQuantity(/** @type {Shop} */ shop, /** @type {URLSearchParams} */ form) {
  const { key, number } = splitUpdate(form.get('update') ?? '');
  if (!Number.isSafeInteger(number)) return text('SETIError: Invalid update command.');
  const item = known(shop, key);
  if (!item) {
    return text(
      shop.faults.okButNotFound
        ? `SETIResponse=OK;Note=SKU ${key} was not found.`
        : `SETIResponse=False;SKU=${key};QOH=NF;NOTE=NotFound`,
    );
  }
  if (shop.faults.untrackedKeys.includes(key)) return text(`SETIResponse=False;SKU=${key};QOH=NA;NOTE=NotTracked`);
  if (spend(shop.faults, 'okButIgnored')) return text(`SETIResponse=OK;SKU=${key};QOH=${item.quantity};NOTE=`);
  const sum = shop.faults.updateSets ? number : item.quantity + number;
  const quantity = shop.faults.clampAtZero ? Math.max(0, sum) : sum;
  await shop.store.append({ changes: [shop.store.change('delta', key, quantity, 'invupdate')] });
  return text(`SETIResponse=OK;SKU=${key};QOH=${quantity};NOTE=`);
}

/** Sets many items: `count=2&update=sku1~2|sku2~5|`. */
async function replaceQuantities(/** @type {Shop} */ shop, /** @type {URLSearchParams} */ form) {
  const lines = [];
  const changes = [];
  const ignored = spend(shop.faults, 'okButIgnored');
  for (const part of (form.get('update') ?? '').split('|').filter((pair) => pair !== '')) {
    const { key, number } = splitUpdate(part);
    if (!known(shop, key)) lines.push(`${key}=NF`);
    else if (shop.faults.untrackedKeys.includes(key)) lines.push(`${key}=NA`);
    else if (!Number.isSafeInteger(number)) lines.push(`${key}=Err`);
    else {
      if (!ignored) changes.push(shop.store.change('set', key, number, 'qohreplace'));
      lines.push(`${key}=OK`);
    }
  }
  if (changes.length > 0) await shop.store.append({ changes });
  return text(['SETIResponse', ...lines, 'SETIEndOfData', ''].join('\r\n'));
}

function splitUpdate(/** @type {string} */ update) {
  const at = update.lastIndexOf('~');
  return {
    key: update.slice(0, Math.max(at, 0)),
    number: at < 0 || at === update.length - 1 ? Number.NaN : Number(update.slice(at + 1)),
  };
}

function known(/** @type {Shop} */ shop, /** @type {string} */ key) {
  return shop.faults.unknownKeys.includes(key) ? undefined : shop.store.item(key);
}

function ordersAfter(/** @type {Shop} */ shop, /** @type {URLSearchParams} */ form) {
  const last = form.get('lastorder') ?? 'All';
  if (shop.faults.ordersHidden) return [];
  return last.toLowerCase() === 'all'
    ? shop.store.orders()
    : shop.store.orders().filter(({ number }) => Number(number) > Number(last));
}

/** @template T @returns {T[]} */
function page(/** @type {T[]} */ rows, /** @type {URLSearchParams} */ form) {
  const first = Math.max(Number(form.get('startnum')) || 1, 1) - 1;
  return rows.slice(first, first + (Number(form.get('batchsize')) || BATCH_DEFAULT));
}

function product(
  /** @type {Shop} */ shop,
  /** @type {import('./shop-store.mjs').Item} */ item,
  /** @type {boolean} */ whole,
) {
  const quantity = shop.faults.untrackedKeys.includes(item.key) ? 'NA' : `${item.quantity}.0000`;
  return `<Product>${tag('Code', item.key)}${whole ? tag('Name', item.title) : ''}${tag('QOH', quantity)}</Product>`;
}

function order(/** @type {import('./shop-store.mjs').Order} */ { number, placedAt, state, lines }) {
  const products = lines.map(
    ({ line, key, title, quantity }) =>
      `<Product>${tag('SKU', key)}${tag('Name', title)}${tag('Quantity', String(quantity))}${tag('LineID', line)}</Product>`,
  );
  const address = `${tag('FullName', 'A. Customer')}<Address>${tag('Street1', '1 Sample Street')}${tag('Country', 'US')}</Address>`;
  return [
    `<Order>${tag('OrderNumber', number)}${tag('OrderDate', setiDate(new Date(placedAt)))}${tag('OrderStatus', state)}`,
    `<Billing>${address}</Billing><Shipping>${address}${products.join('')}</Shipping></Order>`,
  ].join('');
}

/** `08-May-2015 10:32:40 AM`, in UTC, as the official script for Magento writes it. */
function setiDate(/** @type {Date} */ date) {
  const two = (/** @type {number} */ number) => String(number).padStart(2, '0');
  const hour = date.getUTCHours();
  const time = `${hour % 12 || 12}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())} ${hour < 12 ? 'AM' : 'PM'}`;
  return `${two(date.getUTCDate())}-${MONTHS[date.getUTCMonth()]}-${date.getUTCFullYear()} ${time}`;
}

function xml(/** @type {string} */ root, /** @type {string[]} */ rows) {
  const code = rows.length > 0 ? 1 : 2;
  const response = `<Response>${tag('ResponseCode', String(code))}${tag('ResponseDescription', 'success')}</Response>`;
  return {
    status: 200,
    headers: { 'content-type': 'text/xml; charset=utf-8' },
    body: `<?xml version="1.0" encoding="UTF-8"?>\n<${root}>${response}\n${rows.join('\n')}\n</${root}>\n`,
  };
}

function tag(/** @type {string} */ name, /** @type {string} */ value) {
  const safe = value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  return `<${name}>${safe}</${name}>`;
}

const text = (/** @type {string} */ body) => ({ status: 200, body });
