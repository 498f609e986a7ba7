import fc from 'fast-check';

/** The seed of every run here: what fails once fails again, and says with which input. */
export const fuzz = { seed: 20_260_301, numRuns: 1_000 } as const;

/** Longer than this for one small input is a loop or an expression that backtracks without end. */
const inputMsMax = 500;

/** What it is read as, or the error it is refused with, and never slowly. */
export function read<T>(parse: () => T): { readonly value: T } | { readonly error: unknown } {
  const begun = performance.now();
  const outcome = attempt(parse);
  const ms = performance.now() - begun;
  if (ms > inputMsMax) throw new Error(`It took ${Math.round(ms)} ms to read this`);
  return outcome;
}

function attempt<T>(parse: () => T): { readonly value: T } | { readonly error: unknown } {
  try {
    return { value: parse() };
  } catch (error) {
    return { error };
  }
}

/** A valid text with some places changed: bytes taken away, doubled, exchanged, or hostile ones put in. */
export function mutated(valid: string): fc.Arbitrary<string> {
  const hostile = fc.oneof(
    fc.constantFrom('', '\0', '\uFEFF', '\uD800', '🍵', '"', '\\', '<', '&', ']]>', ';', '=', '~', '|', '\n', '\t'),
    fc.constantFrom('-0', '1e999', '9'.repeat(400), '1.5', 'null', 'NaN', '__proto__', 'a'.repeat(5_000)),
    fc.string({ maxLength: 5 }),
  );
  const change = fc.record({ at: fc.nat(valid.length), cut: fc.nat(8), put: hostile, again: fc.boolean() });
  return fc.array(change, { minLength: 1, maxLength: 4 }).map((changes) =>
    changes.reduce((text, { at, cut, put, again }) => {
      const place = Math.min(at, text.length);
      return text.slice(0, place) + put + (again ? text.slice(place, place + cut) : '') + text.slice(place + cut);
    }, valid),
  );
}

/** Any JSON, and a valid value of which one part is any JSON. */
export function mutatedJson(valid: unknown): fc.Arbitrary<unknown> {
  const odd = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom(-0, 1e308, 2 ** 53, -(2 ** 53), 0.1, '', '\0', '\uD800', ' x ', '🍵', 'x'.repeat(300)),
  );
  const places = placesOf(valid);
  return fc
    .tuple(fc.constantFrom(...places), odd, fc.boolean())
    .map(([place, value, removes]) => replaced(valid, place, value, removes));
}

type Place = readonly (string | number)[];

function placesOf(value: unknown, here: Place = []): Place[] {
  if (typeof value !== 'object' || value === null) return [here];
  const keys = Array.isArray(value) ? value.map((_, at) => at) : Object.keys(value);
  return [here, ...keys.flatMap((key) => placesOf((value as Record<string | number, unknown>)[key], [...here, key]))];
}

function replaced(value: unknown, [key, ...deeper]: Place, put: unknown, removes: boolean): unknown {
  if (key === undefined) return put;
  const copy = structuredClone(value) as Record<string | number, unknown>;
  if (removes && deeper.length === 0) delete copy[key];
  else copy[key] = replaced(copy[key], deeper, put, removes);
  return copy;
}
