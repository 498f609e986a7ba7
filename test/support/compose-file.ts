import { parse } from 'yaml';
import { z } from 'zod';

/**
 * Reads a compose file as `docker compose` does, as far as ours goes: anchors and merges, and variables in every text.
 * What it does not know it refuses, so that nothing in the file can go unnoticed by the tests that execute it.
 * The rules of interpolation are those of https://docs.docker.com/reference/compose-file/interpolation/.
 */
export type Variables = Readonly<Record<string, string | undefined>>;

/** A service asks for a variable that is not set, or the text is none that compose could read. */
export class InterpolationError extends Error {
  override readonly name = 'InterpolationError';
}

/**
 * @param text with `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:?message}`, `${NAME?message}`,
 * `${NAME:+other}`, `${NAME+other}` and `$$` for a dollar sign; defaults may hold further variables
 * @throws InterpolationError with the message of a required variable that is not set
 */
export function interpolate(text: string, variables: Variables): string {
  let result = '';
  for (let at = 0; at < text.length;) {
    const dollar = text.indexOf('$', at);
    if (dollar < 0) return result + text.slice(at);
    result += text.slice(at, dollar);
    const { value, end } = substitute(text, dollar, variables);
    result += value;
    at = end;
  }
  return result;
}

function substitute(text: string, dollar: number, variables: Variables): { value: string; end: number } {
  if (text[dollar + 1] === '$') return { value: '$', end: dollar + 2 };
  const bare = /^[A-Za-z_]\w*/.exec(text.slice(dollar + 1));
  if (bare !== null) return { value: variables[bare[0]] ?? '', end: dollar + 1 + bare[0].length };
  const found = /^\{([A-Za-z_]\w*)(:?[-?+])?/.exec(text.slice(dollar + 1));
  if (found === null) throw new InterpolationError(`"${text}" has a dollar sign that begins no variable; write $$`);
  const [opening, name = '', operator] = found;
  const start = dollar + 1 + opening.length;
  const close = closingBrace(text, start);
  const operand = text.slice(start, close);
  return { value: expand(name, operator, operand, variables), end: close + 1 };
}

function expand(name: string, operator: string | undefined, operand: string, variables: Variables): string {
  const value = variables[name];
  if (operator === undefined) {
    if (operand !== '') throw new InterpolationError(`\${${name}${operand}} is no variable`);
    return value ?? '';
  }
  // With a colon an empty variable counts as one that is not set.
  const isSet = value !== undefined && !(operator.startsWith(':') && value === '');
  if (operator.endsWith('+')) return isSet ? interpolate(operand, variables) : '';
  if (isSet) return value;
  if (operator.endsWith('-')) return interpolate(operand, variables);
  throw new InterpolationError(`required variable ${name} is missing a value: ${interpolate(operand, variables)}`);
}

function closingBrace(text: string, from: number): number {
  let depth = 1;
  for (let at = from; at < text.length; at += 1) {
    if (text[at] === '{' && text[at - 1] === '$') depth += 1;
    if (text[at] === '}') depth -= 1;
    if (depth === 0) return at;
  }
  throw new InterpolationError(`"${text}" has a variable without an end`);
}

const scalar = z.union([z.string(), z.number(), z.boolean()]).transform(String);
const duration = z
  .string()
  .regex(/^\d+(ms|s|m)$/)
  .transform((text) => Number.parseInt(text, 10) * (text.endsWith('ms') ? 1 : text.endsWith('m') ? 60_000 : 1_000));

const healthcheck = z.union([
  z.strictObject({ disable: z.literal(true) }),
  z.strictObject({
    test: z.tuple([z.literal('CMD')], z.string()),
    interval: duration.optional(),
    start_period: duration.optional(),
    retries: z.number().optional(),
  }),
]);

const service = z.strictObject({
  build: z.string().optional(),
  image: z.string(),
  restart: z.enum(['no', 'unless-stopped']),
  init: z.boolean().optional(),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), scalar).default({}),
  volumes: z.array(z.string()).optional(),
  ports: z.array(z.string()).optional(),
  stop_grace_period: duration.optional(),
  healthcheck: healthcheck.optional(),
  depends_on: z
    .record(
      z.string(),
      z.strictObject({ condition: z.enum(['service_healthy', 'service_started', 'service_completed_successfully']) }),
    )
    .default({}),
});

const file = z.object({ services: z.record(z.string(), service), volumes: z.record(z.string(), z.null()) });

export type ComposeFile = z.infer<typeof file>;

/** @throws InterpolationError where a variable that the file requires is not set */
export function readCompose(text: string, variables: Variables): ComposeFile {
  return file.parse(interpolateAll(parse(text, { merge: true }), variables));
}

/** Every variable that the file asks for, in the order of its text. */
export function variablesOf(text: string): string[] {
  const asked: string[] = [];
  const noting = new Proxy<Record<string, string>>(
    {},
    {
      get: (_nothing, name) => {
        asked.push(String(name));
        return 'something';
      },
    },
  );
  interpolateAll(parse(text, { merge: true }), noting);
  return [...new Set(asked)];
}

/** Services in an order in which each comes after those it depends on. */
export function startOrder({ services }: ComposeFile): string[] {
  const order: string[] = [];
  const visit = (name: string, path: readonly string[]) => {
    if (path.includes(name)) throw new Error(`Services depend on each other: ${[...path, name].join(' → ')}`);
    const found = services[name];
    if (found === undefined) throw new Error(`${path.at(-1) ?? 'Somebody'} depends on ${name}, which is no service`);
    for (const needed of Object.keys(found.depends_on)) visit(needed, [...path, name]);
    if (!order.includes(name)) order.push(name);
  };
  for (const name of Object.keys(services)) visit(name, []);
  return order;
}

/** Values only, as compose does it; keys stand as they are. */
function interpolateAll(node: unknown, variables: Variables): unknown {
  if (typeof node === 'string') return interpolate(node, variables);
  if (Array.isArray(node)) return node.map((item) => interpolateAll(item, variables));
  if (node === null || typeof node !== 'object') return node;
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, interpolateAll(value, variables)]));
}
