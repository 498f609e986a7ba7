/**
 * Stored facts never change; when a fact's shape does, the old one is brought forward here, one step per shape, each time
 * it is read. An entry is named by the type and the shape it starts from and returns the data of the next shape.
 */
import type { Fact } from './facts.js';

type Data = Readonly<Record<string, unknown>>;
export type Upcasters = ReadonlyMap<string, (data: Data) => Data>;

/** Example: `['StockSold/1', (data) => ({ ...data, channel: null })]` once StockSold is written in shape 2. */
export const upcasters: Upcasters = new Map();

/**
 * The fact a stored row means today.
 * @param shape as stored; every upcaster from there on is applied in turn
 */
export function upcast(type: string, shape: number, data: unknown, table: Upcasters = upcasters): Fact {
  let current = data as Data;
  for (let at = shape; ; at++) {
    const step = table.get(`${type}/${at}`);
    if (step === undefined) return { type, data: current } as unknown as Fact;
    current = step(current);
  }
}
