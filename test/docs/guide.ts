/**
 * The examples of docs/api.md, read so that they can be executed: a fence of `sh` is a step, the fence of `json` or `text`
 * after it is its answer. `…` in an answer stands for whatever is there; fields of an object that are not shown may be.
 */
import { readFile } from 'node:fs/promises';

export interface Step {
  /** Where it stands, for messages. */
  readonly line: number;
  readonly code: string;
  readonly answer: { readonly kind: 'json' | 'text'; readonly text: string } | null;
  /** Reads are asked again until they show the answer, as a reader would: they follow changes by some milliseconds. */
  readonly reads: boolean;
}

export interface Guide {
  readonly text: string;
  readonly steps: readonly Step[];
  /** Fences of `console`: programs that are started beside the guide. */
  readonly programs: readonly string[];
}

export async function readGuide(file: URL): Promise<Guide> {
  const text = await readFile(file, 'utf8');
  const steps: Step[] = [];
  const programs: string[] = [];
  for (const fence of text.matchAll(/^```(\w+)\n([^]*?)^```$/gm)) {
    const [, kind = '', code = ''] = fence;
    const line = text.slice(0, fence.index).split('\n').length;
    const last = steps.at(-1);
    if (kind === 'sh') {
      steps.push({ line, code, answer: null, reads: !/\btell\b|--data| -d |^\w+\(\)/m.test(code) });
    } else if ((kind === 'json' || kind === 'text') && last?.answer === null) {
      steps[steps.length - 1] = { ...last, answer: { kind, text: code } };
    } else if (kind === 'console') {
      programs.push(...code.trim().split('\n'));
    } else {
      throw new Error(`Line ${line}: a fence of "${kind}" belongs to no example`);
    }
  }
  return { text, steps, programs };
}

/** @returns what is wrong with the output, as a sentence; null: it is what the guide shows */
export function difference({ answer }: Step, output: string): string | null {
  if (answer === null) {
    const failed = [...output.matchAll(/^HTTP (\d+)$/gm)].find(([, status]) => !status!.startsWith('2'));
    return failed === undefined ? null : `answered ${failed[0]}`;
  }
  if (answer.kind === 'text') return textDifference(answer.text.trim().split('\n'), output.split(/\r?\n/));
  const [shown, real] = [answersOf(answer.text), answersOf(output)];
  if (shown.length !== real.length) return `${real.length} answers instead of ${shown.length}`;
  for (const [at, one] of shown.entries()) {
    if (one.status !== real[at]!.status) return `HTTP ${real[at]!.status} instead of ${one.status}`;
    const wrong = jsonDifference(one.body, real[at]!.body, 'the answer');
    if (wrong !== null) return wrong;
  }
  return null;
}

/** Every line that is shown, in this order; others may stand between. */
function textDifference(shown: readonly string[], real: readonly string[]): string | null {
  let at = 0;
  for (const line of shown) {
    const found = real.findIndex((one, index) => index >= at && isLike(line, one));
    if (found === -1) return `the line "${line}" is missing`;
    at = found + 1;
  }
  return null;
}

/** Bodies, each with the line `HTTP <status>` after it. */
function answersOf(text: string): { body: unknown; status: string }[] {
  return [...text.matchAll(/([^]*?)^HTTP (\d{3})$\n?/gm)].map(([, body = '', status = '']) => ({
    body: body.trim() === '' ? null : (JSON.parse(body) as unknown),
    status,
  }));
}

function jsonDifference(shown: unknown, real: unknown, path: string): string | null {
  if (typeof shown === 'string' && shown.includes('…'))
    return shown === '…' || (typeof real === 'string' && isLike(shown, real)) ? null : unlike(shown, real, path);
  if (Array.isArray(shown)) {
    if (!Array.isArray(real)) return unlike(shown, real, path);
    const open = shown.at(-1) === '…';
    const rows = open ? shown.slice(0, -1) : shown;
    if (open ? real.length < rows.length : real.length !== rows.length) return unlike(shown, real, path);
    return firstOf(rows.map((row, at) => jsonDifference(row, real[at], `${path}[${at}]`)));
  }
  if (typeof shown === 'object' && shown !== null) {
    if (typeof real !== 'object' || real === null) return unlike(shown, real, path);
    const fields = real as Record<string, unknown>;
    return firstOf(
      Object.entries(shown).map(([name, value]) => jsonDifference(value, fields[name], `${path}.${name}`)),
    );
  }
  return shown === real ? null : unlike(shown, real, path);
}

const firstOf = (found: readonly (string | null)[]) => found.find((one) => one !== null) ?? null;

const unlike = (shown: unknown, real: unknown, path: string) =>
  `${path} is ${JSON.stringify(real)} and not ${JSON.stringify(shown)}`;

function isLike(shown: string, real: string): boolean {
  const parts = shown.split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('[^]*')}$`).test(real);
}
