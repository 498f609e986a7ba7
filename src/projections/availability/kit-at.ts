import type { PoolClient } from 'pg';
import type { Fact } from '../../events/facts.js';
import { evolveKit, initialKit } from '../../events/kit-composition.js';
import { plainParts } from '../../events/kit.js';
import type { KitPart, KitState } from '../../events/kit.js';
import { kitStream } from '../../events/streams.js';
import { upcast } from '../../events/upcasters.js';

/** Kits in kits, and the plain items in those. */
const levelsMax = 2;

/**
 * What a kit was made of at a moment, down to plain items.
 * @param versionsAt the last version of each stream that was recorded by then
 * @returns null where it was no kit
 */
export async function kitPartsAt(
  client: PoolClient,
  sku: string,
  versionsAt: (streams: readonly string[]) => Promise<ReadonlyMap<string, string>>,
): Promise<readonly KitPart[] | null> {
  const kits = new Map<string, KitState>();
  let asked = [sku];
  for (let level = 0; level < levelsMax && asked.length > 0; level += 1) {
    const versions = await versionsAt(asked.map(kitStream));
    const { rows } = await client.query<{ stream: string; type: string; shape: number; data: unknown }>({
      name: 'kits-at',
      text: `SELECT e.stream, e.type, e.shape, e.data
               FROM unnest($1::text[], $2::bigint[]) AS t (stream, version)
               JOIN events e ON e.stream = t.stream AND e.version = t.version`,
      values: [[...versions.keys()], [...versions.values()]],
    });
    for (const { stream, type, shape, data } of rows) {
      const fact: Fact = upcast(type, shape, data);
      kits.set(stream, evolveKit(initialKit, fact));
    }
    asked = asked.flatMap((one) => (kits.get(kitStream(one))?.components ?? []).map((component) => component.sku));
  }
  return plainParts(sku, (stream) => kits.get(stream) ?? null);
}
