import { existsSync } from 'node:fs';
import path from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ownerKey, startHubUnderTest, type HubUnderTest } from '../api/hub-under-test.js';
import { addSource, header, sendFile } from '../daily-reset/given.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';

/** Debian's package, or the one that is named. */
const browserPath = process.env['TEST_CHROMIUM'] ?? '/usr/bin/chromium';
const hasBrowser = existsSync(browserPath);
if (!hasBrowser) {
  process.stderr.write(
    `The road is not looked at: there is no ${browserPath}. Install it (apt-get install chromium) or name one in TEST_CHROMIUM.\n`,
  );
}
/** A folder to keep pictures in, for whoever changes how the page looks. */
const picturesDir = process.env['TEST_PICTURES_DIR'];

describe.skipIf(!hasBrowser)('the road in a browser', () => {
  let hub: HubUnderTest;
  let browser: Browser;
  let page: Page;
  const shops: Shop[] = [];
  const faults: string[] = [];

  beforeAll(async () => {
    hub = await startHubUnderTest();
    browser = await chromium.launch({ executablePath: browserPath, args: ['--no-sandbox'] });
    const context = await browser.newContext({ viewport: { width: 1100, height: 900 } });
    page = await context.newPage();
    page.on('console', (message) => {
      if (message.type() === 'error') faults.push(message.text());
    });
    page.on('pageerror', (error) => faults.push(error.message));
    await openShops(hub, shops);
  });
  afterAll(async () => {
    await browser?.close();
    await Promise.all(shops.map((shop) => shop.stop()));
    await hub?.close();
  });

  const lane = (cart: string) => page.locator(`[data-cart="${cart}"]`);

  it('asks for a key, and comes back to the lanes', async () => {
    await page.goto(`${hub.url}/`);
    expect(page.url()).toContain('/sign-in');
    await page.getByLabel('API key').fill(ownerKey);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await lane('shop-a').waitFor();
    await page.getByText('live, signed in with').waitFor();
    await until('both lanes are green', async () => (await page.locator('.lane.green').count()) === 2);
  });

  it('shows a dead letter of the cart that does not list an item', async () => {
    await receive('GHOST', 3);
    await lane('shop-b').getByRole('link', { name: '1', exact: true }).waitFor();
  });

  it('pauses a lane after asking, and draws what waits as cars', async () => {
    await page.getByRole('button', { name: 'Pause Shop A' }).click();
    await page.getByLabel('Reason').fill('stocktaking');
    await page.getByRole('button', { name: 'Pause', exact: true }).click();
    await lane('shop-a')
      .getByText(/Paused by .*: stocktaking/)
      .waitFor();
    for (let i = 1; i <= 25; i++) await receive(`LAMP-${String(i).padStart(2, '0')}`, i);
    await lane('shop-a').getByText('+5', { exact: true }).waitFor();
    expect(await lane('shop-a').locator('.queue .car').count()).toBe(20);
    await lane('shop-a').getByText('First record (waiting)').waitFor();
  });

  it('shows amber, the attempts and the last response of a cart that is down', async () => {
    await shops[1]!.kill();
    await hub.call('POST', '/v1/movements', { kind: 'sold', sku: 'TENT-2', location: 'MAIN', quantity: 4 });
    await lane('shop-b').getByText('Amber').waitFor();
    await lane('shop-b').getByText('Last response:').waitFor();
    await lane('shop-b')
      .getByText(/connection refused/)
      .first()
      .waitFor();
  });

  it('finds an item by the beginning of its title and opens its numbers and its ledger, by keyboard alone', async () => {
    await page.getByLabel('Find an item').fill('tent for');
    await page.locator('#found a').first().waitFor();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    const item = page.locator('#item');
    await item.getByRole('heading', { name: 'TENT-2' }).waitFor();
    await item.getByText('96 on hand').waitFor();
    const newest = item.locator('.ledger tbody tr').first();
    expect(await newest.locator('td').allTextContents()).toEqual(
      expect.arrayContaining(['stock sold', 'MAIN', '−4', '96']),
    );
  });

  it('fits a phone and the dark', async () => {
    await picture(page, 'desktop-light');
    await page.emulateMedia({ colorScheme: 'dark' });
    await picture(page, 'desktop-dark');
    await page.setViewportSize({ width: 390, height: 844 });
    await until('8 cars fit', async () => (await lane('shop-a').locator('.queue .car').count()) === 8);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390);
    await picture(page, 'phone-dark');
    await page.emulateMedia({ colorScheme: 'light' });
    await picture(page, 'phone-light');
    await page.setViewportSize({ width: 1100, height: 900 });
  });

  it('resumes, and the cars go', async () => {
    await page.getByRole('button', { name: 'Resume Shop A' }).click();
    await page.getByText('25 records go to the cart').or(page.getByText('26 records go to the cart')).waitFor();
    await page.getByRole('button', { name: 'Resume', exact: true }).click();
    await until('Shop A is green and empty', async () => {
      const green = await page.locator('.lane.green[data-cart="shop-a"]').count();
      return green === 1 && (await lane('shop-a').locator('.queue .car').count()) === 0;
    });
    await until('the open item shows that nothing is owed to Shop A any more', async () => {
      const cells = await page.locator('#item tr', { hasText: 'Shop A' }).locator('td').allTextContents();
      return cells.join(' ') === 'Shop A 96 96 0 96';
    });
  });

  it('says above everything that the projector stands, and at which fact', async () => {
    const stopped = { type: 'StockSold', stream: 'stock:MAIN/TENT-2', version: '7', error: 'out of range', at: '' };
    const set = (value: object | null) =>
      hub.database.pool.query('UPDATE projection_checkpoints SET stopped = $1', [value]);
    await set(stopped);
    await page.getByText('The projector stands.').waitFor();
    await picture(page, 'projector-stands');
    await set(null);
    await page.getByText('The projector stands.').waitFor({ state: 'detached' });
  });

  it('shows a Send that the guard holds, and lets it through with a reason', async () => {
    const guard = { listingsMax: 0, sharePercent: 0 };
    await hub.call('PATCH', '/v1/carts/shop-a', { guard });
    await shops[0]!.load([{ key: 'TENT-2', title: 'Tent for two', quantity: 1 }]);
    const sent = await hub.call('POST', '/v1/carts/shop-a/comparison', { direction: 'send', skus: ['TENT-2'] });
    const held = page.locator('.watched.held');
    await held.getByText('Held at shop-a').waitFor();
    await held.getByRole('link', { name: '1 listing would change' }).waitFor();
    await picture(page, 'held-send');
    await held.getByRole('button', { name: 'Let through' }).click();
    await page.getByLabel('Reason').fill('it was edited there');
    await page.locator('#ask-yes').click();
    await held.waitFor({ state: 'detached' });
    await until('the Send is done', async () => (await hub.call('GET', sent.body.statusUrl)).body.state === 'done');
    // What it put onto the Web Stack leaves after that.
    await until('the shop shows what it was told', async () => (await shops[0]!.stock()).get('TENT-2') !== 1);
  });

  it('rejects one with a reason, and nothing of it has happened', async () => {
    const before = (await shops[0]!.stock()).get('TENT-2') as number;
    await shops[0]!.load([{ key: 'TENT-2', title: 'Tent for two', quantity: 1 }]);
    const sent = await hub.call('POST', '/v1/carts/shop-a/comparison', { direction: 'send', skus: ['TENT-2'] });
    const held = page.locator('.watched.held');
    await held.getByRole('button', { name: 'Reject' }).click();
    await page.getByRole('heading', { name: 'Reject at shop-a?' }).waitFor();
    await page.getByLabel('Reason').fill('ask the shop first');
    await page.locator('#ask-yes').click();
    await held.waitFor({ state: 'detached' });
    const run = await until('the Send has ended', async () => {
      const { body } = await hub.call('GET', sent.body.statusUrl);
      return body.state === 'cancelled' ? body : null;
    });
    expect(run.why).toMatch(/^Rejected by .*: ask the shop first$/);
    expect((await shops[0]!.stock()).get('TENT-2')).toBe(1);
    await shops[0]!.load([{ key: 'TENT-2', title: 'Tent for two', quantity: before }]);
  });

  it('shows reset files that are held, applies one, and rejects one with a reason', async () => {
    await addSource(hub, 'erp');
    await hub.call('POST', '/v1/items', { sku: 'RESET', title: 'Reset' });
    const file = (quantity: number) => `${header}MAIN,,SKU,RESET,${quantity}\n`;
    const held = page.locator('.watched.held');
    const first = await sendFile(hub, 'erp', file(6), 'preview=true&name=first.csv');
    await held.getByText('Held, reset file first.csv of erp').waitFor();
    const link = await held.getByRole('link', { name: 'What it would change' }).getAttribute('href');
    expect((await hub.call('GET', link ?? '')).body).toMatchObject({ id: first.id, check: { raised: 1 } });
    await held.getByRole('button', { name: 'Apply' }).click();
    await page.getByRole('heading', { name: 'Apply first.csv?' }).waitFor();
    await page.locator('#ask-yes').click();
    await held.waitFor({ state: 'detached' });
    await until('it is applied', async () => (await hub.call('GET', '/v1/items/RESET')).body.onHand === 6);
    const second = await sendFile(hub, 'erp', file(9), 'preview=true&name=second.csv');
    await held.getByRole('button', { name: 'Reject' }).click();
    await page.getByLabel('Reason').fill('of yesterday');
    await page.locator('#ask-yes').click();
    await held.waitFor({ state: 'detached' });
    const { body } = await hub.call('GET', `/v1/reset-files/${second.id}`);
    expect(body).toMatchObject({ state: 'rejected', problem: expect.stringContaining('of yesterday') });
    expect((await hub.call('GET', '/v1/items/RESET')).body.onHand).toBe(6);
  });

  it('cancels a Send that is under way, after asking', async () => {
    await shops[0]!.faults({ delayBeforeMs: 2_000, scope: 'all' });
    const sent = await hub.call('POST', '/v1/carts/shop-a/comparison', { direction: 'send' });
    await page.getByRole('button', { name: 'Cancel: Send QOH to shop-a' }).click();
    await page.getByRole('heading', { name: 'Cancel: Send QOH to shop-a?' }).waitFor();
    await page.locator('#ask-yes').click();
    await page.locator(`[data-run="${sent.body.id}"]`).waitFor({ state: 'detached' });
    expect((await hub.call('GET', sent.body.statusUrl)).body).toMatchObject({
      state: 'cancelled',
      why: expect.stringMatching(/^Cancelled by /),
    });
    await shops[0]!.faults({});
  });

  it('counts the listings of a cart that show something else, and leads to them', async () => {
    await shops[0]!.load([{ key: 'TENT-2', title: 'Tent for two', quantity: 77 }]);
    await hub.call('POST', '/v1/carts/shop-a/comparison', { direction: 'look' });
    const drifts = page.locator('.watched.drifts');
    const link = drifts.getByRole('link', { name: '1 listing' });
    await link.waitFor();
    expect(await link.getAttribute('href')).toBe('/v1/drifts?open=true&cart=shop-a');
    await link.click();
    await page.waitForURL('**/v1/drifts?open=true&cart=shop-a');
    expect(JSON.parse((await page.locator('pre').first().textContent()) ?? '').data).toMatchObject([
      { key: 'TENT-2', shown: 77 },
    ]);
    await page.goBack();
    const [drift] = (await hub.call('GET', '/v1/drifts?open=true&cart=shop-a')).body.data;
    await hub.call('POST', `/v1/drifts/${drift.id}/resolve`, { action: 'accept', reason: 'a test' });
    await drifts.waitFor({ state: 'detached' });
  });

  it('gives the keyboard back to the lane after asking', async () => {
    await page.getByRole('button', { name: 'Pause Shop A' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Pause Shop A?' }).waitFor();
    await picture(page, 'asking');
    await page.keyboard.press('Escape');
    await until('the button has the focus again', async () => {
      return (await page.evaluate('document.activeElement.getAttribute("aria-label")')) === 'Pause Shop A';
    });
  });

  it('ran nothing that the content security policy refused, and no script failed', () => {
    expect(faults).toEqual([]);
  });

  const receive = (sku: string, quantity: number) =>
    hub.call('POST', '/v1/movements', { kind: 'received', sku, location: 'MAIN', quantity });
});

async function picture(page: Page, name: string): Promise<void> {
  if (picturesDir !== undefined) await page.screenshot({ path: path.join(picturesDir, `${name}.png`), fullPage: true });
}

/** Shop A by SETI and Shop B by webhook, both equal to the hub and switched on; Shop B does not list GHOST. */
async function openShops(hub: HubUnderTest, shops: Shop[]): Promise<void> {
  const lamps = Array.from({ length: 25 }, (_, i) => ({
    sku: `LAMP-${String(i + 1).padStart(2, '0')}`,
    title: `Lamp ${i + 1}`,
  }));
  const items = [{ sku: 'TENT-2', title: 'Tent for two' }, { sku: 'GHOST', title: 'Nobody lists it' }, ...lamps];
  await ok(hub.call('POST', '/v1/locations', { location: 'MAIN', name: 'Main warehouse' }));
  await ok(hub.call('POST', '/v1/items/batch', { items }));
  await ok(
    hub.call('POST', '/v1/movements', {
      kind: 'received',
      sku: 'TENT-2',
      location: 'MAIN',
      quantity: 100,
      reason: 'spring delivery',
      reference: { kind: 'purchase-order', number: '4711', line: '1' },
    }),
  );
  const stock = items.map(({ sku, title }) => ({ key: sku, title, quantity: sku === 'TENT-2' ? 100 : 0 }));
  shops.push(await startShop('seti', { name: 'Shop A', items: stock }));
  shops.push(await startShop('webhook', { name: 'Shop B', items: stock.filter(({ key }) => key !== 'GHOST') }));
  for (const [i, shop] of shops.entries()) {
    const id = i === 0 ? 'shop-a' : 'shop-b';
    const own = shop.kind === 'seti' ? { username: shop.user } : {};
    const cart = {
      id,
      name: `Shop ${i === 0 ? 'A' : 'B'}`,
      type: shop.kind,
      url: shop.url,
      secret: shop.secret,
      ...own,
    };
    await ok(hub.call('POST', '/v1/carts', { ...cart, locations: ['MAIN'] }));
    await ok(hub.call('PUT', `/v1/carts/${id}/listings`, { allItems: true }));
    await ok(hub.call('POST', `/v1/carts/${id}/comparison`, { direction: 'send' }));
    await until(`${id} is compared`, async () => {
      const { body } = await hub.call('GET', `/v1/carts/${id}/comparison`);
      return body.data[0]?.state === 'done';
    });
    await ok(hub.call('PUT', `/v1/carts/${id}/switch`, { on: true, unprobed: 'the sample shop' }));
  }
}

async function ok(call: ReturnType<HubUnderTest['call']>): Promise<void> {
  const { status, body } = await call;
  if (status >= 300) throw new Error(`${status}: ${JSON.stringify(body)}`);
}
