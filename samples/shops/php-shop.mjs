// A sample shop with a bridge: PHP and MariaDB as a merchant has them, the bridge exactly as it is uploaded, and a till
// (php/till.php) that writes as such a shop does. This process stands in front of PHP, so that faults can be switched on.
//
//   node samples/shops/php-shop.mjs --family oscommerce|x-cart --speaks bridge|seti --port 0 --dir DIR --database JSON
//
// --database: {"host", "port", "user", "password", "client"} of a running server; the shop makes a database of its own in
// it, named after its folder, and finds it again there. The secret or password comes from SHOP_SECRET.

import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { runSql, startPhp } from '../shop-servers.mjs';
import { startShop } from './shop-server.mjs';
import { TillStore } from './till-store.mjs';

const { values: options } = parseArgs({
  options: Object.fromEntries(
    ['family', 'speaks', 'port', 'host', 'dir', 'name', 'database', 'user', 'schema', 'settings', 'workers'].map(
      (name) => [name, { type: /** @type {const} */ ('string') }],
    ),
  ),
});
const family = options.family === 'x-cart' ? 'x-cart' : 'oscommerce';
const speaks = options.speaks === 'seti' ? 'seti' : 'bridge';
const dir = path.resolve(options.dir ?? '.');
const access = JSON.parse(options.database ?? '{}');
const secret = process.env.SHOP_SECRET ?? '';
const file = `onhand-${family}.php`;

const php = await openShop();
startShop(
  {
    path: `/${file}`,
    restocksOnCancel: family === 'x-cart',
    writes: (_shop, _request, body) =>
      /"type":"stock\.(?:adjust|set|visibility)"|setifunction=(?:invupdate|qohreplace)/.test(body.toString('utf8')),
    serve: (shop, request, body) => forward(request, body),
  },
  { family: '', speaks: '', database: '', user: '', schema: '', settings: '', workers: '' },
  () => new TillStore(`http://127.0.0.1:${php.port}/till.php`, php.stop),
);

/** Makes what a merchant's server has: a database with the shop's tables, its settings, the bridge, and PHP. */
async function openShop() {
  const root = path.join(dir, 'www');
  const database = `shop_${createHash('sha256').update(dir).digest('hex').slice(0, 12)}`;
  const parts = fileURLToPath(new URL('./php/', import.meta.url));
  if (!fs.existsSync(root)) {
    const schema = fs.readFileSync(path.join(parts, `${family}.sql`), 'utf8');
    const change = options.schema ? fs.readFileSync(options.schema, 'utf8') : '';
    runSql(
      access,
      `CREATE DATABASE ${database} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci; USE ${database};\n${schema}\n${change}`,
    );
    fs.mkdirSync(path.join(root, 'includes'), { recursive: true });
    fs.writeFileSync(path.join(root, 'index.php'), '<?php echo "A shop.";');
    fs.copyFileSync(path.join(parts, 'till.php'), path.join(root, 'till.php'));
    fs.writeFileSync(path.join(root, 'till-settings.php'), tillSettings(database));
    fs.writeFileSync(
      path.join(root, family === 'x-cart' ? 'config.php' : 'includes/configure.php'),
      shopSettings(database),
    );
    const bridge = fs.readFileSync(fileURLToPath(new URL(`../../bridge/${file}`, import.meta.url)), 'utf8');
    fs.writeFileSync(path.join(root, file), withSettings(bridge));
  }
  return await startPhp({ root, workers: Number(options.workers ?? 4), log: path.join(dir, 'php.log') });
}

function tillSettings(database) {
  const { host, port, user, password } = access;
  return `<?php
const TILL_HOST = '${host}'; const TILL_PORT = ${port}; const TILL_USER = '${user}'; const TILL_PASSWORD = '${password}';
const TILL_DATABASE = '${database}'; const TILL_FAMILY = '${family}';\n`;
}

/** As the shop's own installer writes them. */
function shopSettings(database) {
  const { host, port, user, password } = access;
  return family === 'x-cart'
    ? `<?php
if (!defined('XCART_START')) { header("Location: index.php"); die("Access denied"); }
$sql_host = '${host}:${port}';
$sql_user = '${user}';
$sql_db = '${database}';
$sql_password = '${password}';\n`
    : `<?php
  define('DB_SERVER', '${host}:${port}');
  define('DB_SERVER_USERNAME', '${user}');
  define('DB_SERVER_PASSWORD', '${password}');
  define('DB_DATABASE', '${database}');
?>

`;
}

/** What the merchant fills in near the top of the file. */
function withSettings(bridge) {
  const filled = speaks === 'seti' ? { seti_user: options.user ?? '', seti_password: secret } : { secret };
  let text = bridge.replace("'allow_http' => false", "'allow_http' => true");
  for (const [name, value] of Object.entries(filled)) text = text.replace(`'${name}' => ''`, `'${name}' => '${value}'`);
  // What a merchant may have set besides, as PHP writes it.
  for (const [name, value] of Object.entries(JSON.parse(options.settings ?? '{}')))
    text = text.replace(new RegExp(`'${name}' => (?:'[^']*'|\\w+(?:\\(\\))?),`), `'${name}' => ${value},`);
  return text;
}

async function forward(/** @type {import('node:http').IncomingMessage} */ request, /** @type {Buffer} */ body) {
  const headers = Object.fromEntries(
    Object.entries(request.headers).filter(([name]) => /^(?:content-type|x-forwarded-proto|webhook-.*)$/.test(name)),
  );
  const method = request.method ?? 'GET';
  const response = await fetch(`http://127.0.0.1:${php.port}${request.url}`, {
    method,
    headers: /** @type {Record<string, string>} */ (headers),
    ...(method === 'GET' ? {} : { body }),
    redirect: 'manual',
  });
  return {
    status: response.status,
    headers: { 'content-type': response.headers.get('content-type') ?? 'text/plain' },
    body: await response.text(),
  };
}
