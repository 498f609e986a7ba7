// The merchant's catalogue, as it comes from the sheet: sku, title and the pieces at each location.
import { readFileSync } from 'node:fs';

export const LOCATIONS = [
  { location: 'MAIN', name: 'Main warehouse' },
  { location: 'STORE', name: 'High street store' },
];

/** The one item that shop B does not list; what is meant for it there becomes the day's only dead letter. */
export const UNKNOWN_AT_B = 'GIFT-CARD-BOX';

/** @typedef {{sku: string, title: string, pieces: Record<string, number>}} CatalogueItem */

/** @returns {CatalogueItem[]} */
export function readCatalogue() {
  const text = readFileSync(new URL('../catalogue.csv', import.meta.url), 'utf8');
  const [head = [], ...rows] = text
    .split(/\r?\n/)
    .filter((line) => line !== '')
    .map(cellsOf);
  return rows.map((cells) => ({
    sku: cells[0] ?? '',
    title: cells[1] ?? '',
    pieces: Object.fromEntries(LOCATIONS.map(({ location }) => [location, Number(cells[head.indexOf(location)])])),
  }));
}

/** One line of comma-separated values; a quoted cell may hold commas and doubled quotes. */
function cellsOf(/** @type {string} */ line) {
  return [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(
    ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '',
  );
}
