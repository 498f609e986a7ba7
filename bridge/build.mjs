// Puts the two bridges together from their parts, so that a merchant uploads one file: `node bridge/build.mjs`.
// The results are kept in the repository; a test fails when they differ from their parts.
import { readFileSync, writeFileSync } from 'node:fs';

const COMMON = ['main', 'database', 'stock', 'orders', 'shop-common'];
const BRIDGES = {
  'onhand-oscommerce.php': ['head-oscommerce', ...COMMON, 'shop-oscommerce', 'seti', 'page'],
  'onhand-x-cart.php': ['head-x-cart', ...COMMON, 'shop-x-cart', 'seti', 'page'],
};

/** @returns {Record<string, string>} what each file should hold */
export function builtBridges() {
  return Object.fromEntries(
    Object.entries(BRIDGES).map(([file, parts]) => {
      const texts = parts.map((part) => readFileSync(new URL(`parts/${part}.php`, import.meta.url), 'utf8'));
      return [file, startLast(texts.join(''))];
    }),
  );
}

/** PHP knows a class that extends another, and a constant, only below the line that makes it: the start goes to the end. */
function startLast(text) {
  const start = /^\$onhand_answered = false;\n[\s\S]*?^onhand_main\(\$onhand_settings\);\n/m;
  const [found = ''] = start.exec(text) ?? [];
  return `${text.replace(start, '')}\n${found}`;
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  for (const [file, text] of Object.entries(builtBridges())) writeFileSync(new URL(file, import.meta.url), text);
}
