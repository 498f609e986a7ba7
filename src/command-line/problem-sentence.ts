import type { ProblemBody, ProblemField } from '../modules/http/problem.js';

/** The hub's problem as sentences: what is wrong and what to do, then every field that is wrong besides. */
export function problemSentence(status: number, text: string, url: string): string {
  const problem = problemOf(text);
  if (problem === null) {
    return `${url} answered ${status} without saying why. Is this a hub, or a proxy in front of one? Look at its log.`;
  }
  const fields = (problem.fields ?? []).filter((field) => !alreadySaid(problem.detail, field));
  return [problem.detail, ...fields.map(({ field, detail }) => `  ${optionOf(field)}: ${detail}`)].join('\n');
}

export function problemOf(text: string): ProblemBody | null {
  try {
    const body = JSON.parse(text) as Partial<ProblemBody> | null;
    return typeof body?.detail === 'string' && typeof body.type === 'string' ? (body as ProblemBody) : null;
  } catch {
    return null;
  }
}

const alreadySaid = (detail: string, { field, detail: about }: ProblemField) =>
  detail.includes(about) && (field === '' || detail.includes(field) || detail === about);

/** The API's field where the command line calls it otherwise; the path stays, because a file of orders has the same. */
function optionOf(field: string): string {
  const option = options[field];
  return option === undefined ? field : `${option} (${field})`;
}

const options: Readonly<Record<string, string>> = {
  url: '--cart-url',
  username: '--user',
  secret: '--secret-file',
  storeCode: '--store-code',
  locations: '--location',
  location: '--location',
  orderLocation: '--order-location',
  occurredAt: '--occurred-at',
  reference: '--reference',
  expiresAt: '--expires-at',
};
