import { describe, expect, it } from 'vitest';
import { laneBench, type LaneBench } from './lane-bench.js';

interface GivenKit {
  readonly kit: string;
  readonly bolt: string;
  readonly nut: string;
}

/** A kit of two bolts and a nut, ten of each: both shops are told that there are five kits. */
async function givenKit(bench: LaneBench): Promise<GivenKit> {
  const [kit, bolt, nut] = [bench.sku(), bench.sku(), bench.sku()];
  await bench.hub.ask({ type: 'AdjustStock', sku: kit, location: 'MAIN', delta: -10 });
  await setKit(bench, kit, { [bolt]: 2, [nut]: 1 });
  await bench.hub.quiet();
  return { kit, bolt, nut };
}

const setKit = (bench: LaneBench, sku: string, parts: Readonly<Record<string, number>>) =>
  bench.hub.ask({
    type: 'SetKit',
    sku,
    components: Object.entries(parts).map(([part, quantity]) => ({ sku: part, quantity })),
    by: 'Ann',
  });

const shown = (bench: LaneBench, ...skus: string[]) => Promise.all(skus.map((sku) => bench.shown(sku)));
/** What the hub told a shop of a listing, delta by delta. */
const told = async (bench: LaneBench, cart: 'a' | 'b', sku: string) =>
  (await bench[cart].journal()).filter(({ key, kind }) => key === sku && kind === 'delta').map(({ delta }) => delta);

describe('kits in shops that lower the kit they sell', () => {
  const bench = laneBench(() => 'postgres');

  it('shows as many kits as the scarcest component allows, in kits of kits too', async () => {
    const { kit, bolt } = await givenKit(bench);
    const outer = bench.sku();
    await bench.hub.ask({ type: 'AdjustStock', sku: outer, location: 'MAIN', delta: -10 });
    await setKit(bench, outer, { [kit]: 2, [bolt]: 1 });
    await bench.hub.quiet();
    expect(await shown(bench, kit, outer)).toEqual([
      [5, 5],
      [2, 2],
    ]);
    await bench.sell(bolt, 1);
    await bench.hub.quiet();
    expect(await shown(bench, kit, outer, bolt)).toEqual([
      [4, 4],
      [1, 1],
      [9, 9],
    ]);
  });

  it('moves components when a kit is sold, echoes on the kit at the shop that sold it, and tells everybody of the rest', async () => {
    const { kit, bolt, nut } = await givenKit(bench);
    const other = bench.sku();
    await bench.hub.ask({ type: 'AdjustStock', sku: other, location: 'MAIN', delta: -10 });
    await setKit(bench, other, { [nut]: 1 });
    await bench.hub.quiet();
    const before = await told(bench, 'b', kit);
    const order = await bench.b.buy(kit, 2);
    await bench.hub.orderImport.poll('b');
    await bench.hub.quiet();
    expect(await shown(bench, kit, bolt, nut, other)).toEqual([
      [3, 3],
      [6, 6],
      [8, 8],
      [8, 8],
    ]);
    // The shop lowered its kit itself: only what it did not know was sent to it.
    expect(await told(bench, 'b', kit)).toEqual(before);
    expect([await told(bench, 'b', bolt), await told(bench, 'b', nut)]).toEqual([[-4], [-2]]);
    expect((await told(bench, 'a', kit)).at(-1)).toBe(-2);

    await setKit(bench, kit, { [nut]: 4 });
    await bench.hub.quiet();
    const cancelled = await bench.b.cancel(order.number);
    await bench.hub.orderImport.importOrder('b', cancelled, { after: null, by: new Date().toISOString() });
    await bench.hub.quiet();
    // What was taken came back, though the kit is another one by now.
    expect(await shown(bench, bolt, nut, kit)).toEqual([
      [10, 10],
      [10, 10],
      [2, 2],
    ]);
  });

  it('takes nothing over from what a shop shows of a kit, and makes the shop equal instead', async () => {
    const { kit, bolt, nut } = await givenKit(bench);
    await bench.b.load([{ key: kit, title: kit, quantity: 9 }]);
    await bench.hub.qohTransfer.run({ cartId: 'b', direction: 'get', keys: [kit] });
    await bench.hub.quiet();
    expect(await shown(bench, kit, bolt, nut)).toEqual([
      [5, 5],
      [10, 10],
      [10, 10],
    ]);
  });
});

describe('kits in a shop that lowers their components itself', () => {
  const bench = laneBench(() => 'postgres', {}, { b: { kits: 'components' } });

  it('echoes on the components there, and tells the others of everything', async () => {
    const { kit, bolt, nut } = await givenKit(bench);
    // The shop's own doing, which its order feed tells as one line of the kit.
    await bench.b.load([{ key: bolt, title: bolt, quantity: 8 }]);
    await bench.b.load([{ key: nut, title: nut, quantity: 9 }]);
    const at = new Date().toISOString();
    const line = { line: '1', key: kit, quantity: 1, title: kit };
    const order = { number: '900', revision: 1, placedAt: at, state: 'open', lines: [line] } as const;
    await bench.hub.orderImport.importOrder('b', order, { after: null, by: at });
    await bench.hub.quiet();
    expect(await shown(bench, kit, bolt, nut)).toEqual([
      [4, 4],
      [8, 8],
      [9, 9],
    ]);
    expect([await told(bench, 'b', bolt), await told(bench, 'b', nut)]).toEqual([[], []]);
    expect((await told(bench, 'b', kit)).at(-1)).toBe(-1);
  });
});
