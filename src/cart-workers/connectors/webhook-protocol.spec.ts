import { readFileSync } from 'node:fs';

import fc from 'fast-check';
import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';

import { CartError, CartRejectedError, OutcomeUnknownError } from './cart-error.js';
import {
  parseLineAnswers,
  parseOrderWebhook,
  refuseStatus,
  verifyWebhook,
  webhookBody,
  webhookHeaders,
} from './webhook-protocol.js';

const golden = (name: string): string =>
  readFileSync(new URL(`../../../test/contract/golden/${name}`, import.meta.url), 'utf8');
const secret = 'whsec_c2FtcGxlLXNob3Atc2VjcmV0LTMyLWJ5dGVzLWxvbmc=';
const nowMs = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const body = '{"type":"ping"}';

describe('a webhook that we send', () => {
  it('has a body that depends on the delivery alone', () => {
    const lines = [
      { key: '0012', delta: -3 },
      { key: 'A+B ~/é', delta: 5 },
    ];
    expect(webhookBody('stock.adjust', nowMs, { lines })).toBe(golden('webhook-stock-adjust.request.txt'));
  });

  it('is signed as Standard Webhooks says', () => {
    const sentAtMs = Date.now();
    const headers = webhookHeaders('msg_1', sentAtMs, body, secret);
    expect(new Webhook(secret).verify(body, { ...headers })).toEqual({ type: 'ping' });
  });

  it('is refused where the secret is none', () => {
    expect(() => webhookHeaders('msg_1', nowMs, body, 'whsec_*')).toThrow(CartRejectedError);
    expect(() => webhookHeaders('msg_1', nowMs, body, '')).toThrow(CartRejectedError);
  });
});

describe('a webhook that comes in', () => {
  const headers = (text = body, sentAtMs = nowMs): Record<string, string> => ({
    ...webhookHeaders('msg_1', sentAtMs, text, secret),
  });

  it('is valid with a signature over its raw bytes, also beside others', () => {
    expect(verifyWebhook(headers(), Buffer.from(body), secret, nowMs)).toEqual({
      valid: true,
      id: 'msg_1',
      sentAtMs: Math.floor(nowMs / 1000) * 1000,
    });
    const rotated = { ...headers(), 'webhook-signature': `v1,AAAA v2,x ${headers()['webhook-signature'] ?? ''}` };
    expect(verifyWebhook(rotated, Buffer.from(body), secret, nowMs).valid).toBe(true);
  });

  it('is invalid when a byte, the id or the secret differs', () => {
    expect(verifyWebhook(headers(), Buffer.from(`${body} `), secret, nowMs).valid).toBe(false);
    expect(verifyWebhook({ ...headers(), 'webhook-id': 'msg_2' }, Buffer.from(body), secret, nowMs).valid).toBe(false);
    expect(verifyWebhook(headers(), Buffer.from(body), 'whsec_b3RoZXI=', nowMs).valid).toBe(false);
    expect(verifyWebhook(headers(), Buffer.from(body), '', nowMs).valid).toBe(false);
    expect(verifyWebhook({}, Buffer.from(body), secret, nowMs).valid).toBe(false);
  });

  it('tells bytes apart that are the same text after decoding', () => {
    const bytes = Buffer.from([0x22, 0xff, 0x22]);
    const decoded = bytes.toString('utf8');
    expect(verifyWebhook(headers(decoded), bytes, secret, nowMs).valid).toBe(false);
    expect(verifyWebhook(headers(decoded), Buffer.from(decoded), secret, nowMs).valid).toBe(true);
  });

  it('is invalid more than five minutes from its sending', () => {
    const fiveMinutesMs = 5 * 60_000;
    expect(verifyWebhook(headers(body, nowMs - fiveMinutesMs - 1_000), Buffer.from(body), secret, nowMs).valid).toBe(
      false,
    );
    expect(verifyWebhook(headers(body, nowMs + fiveMinutesMs + 1_000), Buffer.from(body), secret, nowMs).valid).toBe(
      false,
    );
    expect(verifyWebhook(headers(body, nowMs - fiveMinutesMs + 1_000), Buffer.from(body), secret, nowMs).valid).toBe(
      true,
    );
  });

  it('becomes an order', () => {
    expect(parseOrderWebhook(Buffer.from(golden('webhook-order-updated.txt')))).toEqual({
      order: {
        number: '1001',
        revision: 2,
        placedAt: '2026-01-02T03:04:05+02:00',
        state: 'open',
        lines: [{ line: '1', key: '0012', quantity: 2, title: 'Mug' }],
      },
    });
  });

  it('names its problem where it is no order', () => {
    expect(parseOrderWebhook(Buffer.from('{'))).toEqual({ problem: 'the body is not JSON' });
    const half = golden('webhook-order-updated.txt').replace('"quantity":2', '"quantity":2.5');
    expect(parseOrderWebhook(Buffer.from(half))).toMatchObject({
      problem: expect.stringMatching(/^data\.lines\.0\.quantity/) as string,
    });
  });
});

describe('the answer to a change', () => {
  it('is told per line, in the order of the request', () => {
    expect(parseLineAnswers(golden('webhook-stock-adjust.response.txt'), ['0012', 'A+B ~/é', 'left out'], [])).toEqual([
      { key: '0012', outcome: 'rejected', response: 'locked' },
      { key: 'A+B ~/é', outcome: 'applied', quantity: 12, response: 'applied' },
      { key: 'left out', outcome: 'unknown', response: 'the answer does not name this item' },
    ]);
  });

  it('is unknown where it contradicts itself', () => {
    const twice = '{"lines":[{"key":"A","status":"applied","quantity":1},{"key":"A","status":"not-found"}]}';
    expect(parseLineAnswers(twice, ['A'], [])).toMatchObject([{ outcome: 'unknown' }]);
  });

  it('shows no secret that the cart repeats', () => {
    const answer = JSON.stringify({
      lines: [{ key: 'A', status: 'rejected', message: `bad ${secret}\n${'x'.repeat(900)}` }],
    });
    const response = parseLineAnswers(answer, ['A'], [secret])[0]?.response ?? '';
    expect(response).toMatch(/^bad ••• xxx/);
    expect(response.length).toBeLessThanOrEqual(500);
  });

  it('by status is definite for refusals and ambiguous for the rest', () => {
    for (const status of [308, 400, 401, 403, 404, 405, 409, 422])
      expect(() => refuseStatus(status, '', [])).toThrow(CartRejectedError);
    for (const status of [202, 302, 408, 500, 502, 504])
      expect(() => refuseStatus(status, '', [])).toThrow(OutcomeUnknownError);
    expect(() => refuseStatus(200, '', [])).not.toThrow();
  });

  it('is read or a CartError, whatever comes', () => {
    const value = fc.oneof(
      fc.string(),
      fc.json(),
      fc.constantFrom('{"lines":[{}]}', '{"lines":[{"key":"A","status":"applied","quantity":1.5}]}'),
    );
    fc.assert(
      fc.property(value, (text) => {
        try {
          expect(parseLineAnswers(text, ['A'], [])).toHaveLength(1);
        } catch (error) {
          expect(error).toBeInstanceOf(CartError);
        }
        expect(parseOrderWebhook(Buffer.from(text))).toHaveProperty('problem');
      }),
    );
  });

  it('returns what a receiver says for any keys', () => {
    const keys = fc.uniqueArray(fc.string({ minLength: 1, unit: 'binary' }), { maxLength: 20 });
    fc.assert(
      fc.property(keys, fc.integer(), (some, quantity) => {
        const text = JSON.stringify({ lines: some.map((key) => ({ key, status: 'applied', quantity })).toReversed() });
        expect(parseLineAnswers(text, some, [])).toEqual(
          some.map((key) => ({ key, outcome: 'applied', quantity, response: 'applied' })),
        );
      }),
    );
  });
});
