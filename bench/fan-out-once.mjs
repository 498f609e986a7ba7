/** One round of fan-out: movements through the API in calls of a thousand, until every shop shows what it has to. */
const perCall = 1_000;
const callsAtOnce = 4;
const patienceMs = 600_000;

/**
 * What the shops have to show, which is what they began with and everything received since.
 *
 * @param {number} shops
 * @param {{ start?: number, sells?: (shop: number, sku: string) => boolean }} of `start`: what every shop shows of an item
 *   before its first movement; `sells`: which shop sells what, all of them everything unless told otherwise
 */
export function shopStock(shops, { start = 0, sells = () => true } = {}) {
  const stock = Array.from({ length: shops }, () => new Map());
  const sums = stock.map(() => 0);
  const receive = (sku, quantity) => {
    let pairs = 0;
    for (let shop = 0; shop < shops; shop += 1) {
      if (!sells(shop, sku)) continue;
      pairs += 1;
      const before = stock[shop].get(sku);
      if (before === undefined) sums[shop] += start;
      stock[shop].set(sku, (before ?? start) + quantity);
      sums[shop] += quantity;
    }
    return pairs;
  };
  return { stock, sums, receive };
}

/**
 * @param {ReturnType<typeof shopStock>} shown
 * @param {{ movements: number, skus: readonly string[] }} work each movement is of any of these
 * @returns how many (movement × cart) pairs a second were reflected, from the first command until all shops agree
 */
export async function fanOutOnce(hub, shops, shown, { movements, skus }) {
  const before = await totals(shops);
  const batches = [];
  let pairs = 0;
  for (let at = 0; at < movements; at += perCall) {
    batches.push(
      Array.from({ length: Math.min(perCall, movements - at) }, () => {
        const sku = skus[Math.floor(Math.random() * skus.length)];
        const quantity = 1 + Math.floor(Math.random() * 3);
        pairs += shown.receive(sku, quantity);
        return { kind: 'received', sku, location: 'MAIN', quantity };
      }),
    );
  }
  const began = performance.now();
  const send = async () => {
    for (let batch = batches.pop(); batch !== undefined; batch = batches.pop()) {
      const { refused } = await hub.ask('POST', '/v1/movements/batch', { movements: batch });
      if (refused > 0) throw new Error(`${refused} movements were refused`);
    }
  };
  await Promise.all(Array.from({ length: callsAtOnce }, send));
  const appendedS = (performance.now() - began) / 1_000;
  const after = await equal(shops, shown);
  const equalS = (performance.now() - began) / 1_000;
  return {
    perSecond: pairs / equalS,
    appendedS,
    equalS,
    calls: sumOf(after, 'calls') - sumOf(before, 'calls'),
    lines: sumOf(after, 'lines') - sumOf(before, 'lines'),
  };
}

const totals = async (shops) => (await fetch(`${shops.url}/totals`)).json();
const sumOf = (rows, key) => rows.reduce((total, row) => total + row[key], 0);

/** Sums first, because they are cheap to ask for; then every quantity of every shop. */
async function equal(shops, { stock, sums }) {
  const end = Date.now() + patienceMs;
  let seen = await totals(shops);
  while (!seen.every(({ sum }, shop) => sum === sums[shop])) {
    if (Date.now() > end)
      throw new Error(`The shops do not agree: ${JSON.stringify(seen)}, expected ${sums.join(', ')}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    seen = await totals(shops);
  }
  for (const [shop, expected] of stock.entries()) {
    const shows = await (await fetch(`${shops.url}/stock?shop=${shop}`)).json();
    for (const [sku, quantity] of expected)
      if (shows[sku] !== quantity) throw new Error(`shop-${shop} shows ${shows[sku]} of ${sku}, not ${quantity}`);
  }
  return seen;
}
