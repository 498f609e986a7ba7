import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ownerKey, startHubUnderTest, type HubUnderTest } from '../api/hub-under-test.js';
import { startShop, type Shop } from '../support/shops.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { until } from '../support/until.js';
import { difference, readGuide, type Step } from './guide.js';
import { openShell, type Shell } from './shell.js';

const guide = await readGuide(new URL('../../docs/api.md', import.meta.url));

/** docs/api.md is executed as it stands, from its first line to its last, against a hub and a shop that are real. */
describe('the API guide', () => {
  let hub: HubUnderTest;
  let shop: Shop;
  let shell: Shell;
  let dir: string;

  beforeAll(async () => {
    dir = await temporaryDirectory();
    hub = await startHubUnderTest();
    shop = await startShop('seti', { name: 'Shop A' });
    shell = openShell(dir);
  });
  afterAll(async () => {
    await shell.close();
    await hub.close();
    await shop.stop();
    await rm(dir, { recursive: true, force: true });
  });

  it('starts the two programs that this test stands in for', () => {
    expect(guide.programs).toEqual([
      'ONHAND_OWNER_KEY=change-me-to-something-long-0001 ONHAND_ALLOW_PRIVATE_CART_URLS=true npm start',
      'mkdir -p shop-a && node samples/shops/seti-shop.mjs --port 4001 --dir shop-a --name "Shop A"',
    ]);
  });

  it('shows what its examples really answer, one after the other', async () => {
    expect(guide.steps.length).toBeGreaterThan(30);
    for (const step of guide.steps) await check(step);
  }, 240_000);

  async function check(step: Step): Promise<void> {
    const code = step.code
      .replaceAll('http://127.0.0.1:3000', hub.url)
      .replaceAll('http://127.0.0.1:4001', shop.pageUrl)
      .replaceAll('change-me-to-something-long-0001', ownerKey);
    let last = '';
    const wrong = async () => difference(step, (last = await shell.run(code)));
    try {
      if (!step.reads) expect(await wrong()).toBeNull();
      else await until('the answer that is shown', async () => (await wrong()) === null, 30_000);
    } catch {
      expect.fail(
        `docs/api.md, line ${step.line}: ${difference(step, last)}\n\n${step.code}\nanswered\n\n${last.slice(0, 4_000)}`,
      );
    }
  }

  it('names every route of the OpenAPI document, and none that is gone', async () => {
    const { body } = await hub.call('GET', '/docs/openapi.json');
    const routes = Object.entries(body.paths as Record<string, Record<string, unknown>>).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const named = [...guide.text.matchAll(/^\| `([A-Z]+ \/[^`]*)` \|/gm)].map(([, route]) => route!);
    expect(routes.filter((route) => !named.includes(route))).toEqual([]);
    expect(named.filter((route) => !routes.includes(route))).toEqual([]);
  });
});
