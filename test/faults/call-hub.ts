import type { HubProcess } from './hub-process.js';

/** An answer of the API, with the fields that these tests look at. */
export interface Answer {
  readonly status: number;
  readonly contentType: string | null;
  readonly replayed: boolean;
  readonly body: {
    readonly type?: string;
    readonly detail?: string;
    readonly key?: string;
    readonly state?: string;
    readonly light?: string;
    readonly outcomes?: readonly { readonly status: number }[];
  };
}

/** One call, without a second try. @param body undefined: a GET */
export async function callHub(
  hub: Pick<HubProcess, 'url'>,
  apiKey: string,
  path: string,
  body?: unknown,
  idempotencyKey?: string,
): Promise<Answer> {
  const response = await fetch(hub.url + path, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      authorization: `Bearer ${apiKey}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return {
    status: response.status,
    contentType: response.headers.get('content-type'),
    replayed: response.headers.get('idempotent-replayed') === 'true',
    body: (await response.json()) as Answer['body'],
  };
}

export const adjustment = (sku: string, delta: number, reason = 'test') => ({
  kind: 'adjusted',
  sku,
  location: 'MAIN',
  delta,
  reason,
});
