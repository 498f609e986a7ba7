import { answerText } from './answer-text.js';
import { CartError, CartRejectedError, OutcomeUnknownError } from './cart-error.js';
import type { CallContext, CartConnection } from './connector.js';
import { httpCall } from './http-call.js';
import { refuseSetiError, setiForm } from './seti-protocol.js';

/**
 * One call of the script.
 * @returns its text, which is no `SETIError`
 * @throws CartRejectedError denied login, or for a read any refusal; OutcomeUnknownError any other failure of a write
 */
export async function ask(
  cart: CartConnection,
  call: CallContext,
  setifunction: string,
  fields: Readonly<Record<string, string>>,
  kind: 'read' | 'write',
): Promise<string> {
  const login =
    setifunction === 'sendversion'
      ? null
      : { username: cart.username, password: cart.secret, storeCode: cart.storeCode };
  const answer = await httpCall({
    method: 'POST',
    url: cart.url,
    headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'text/plain, text/xml, */*' },
    body: setiForm(setifunction, login, fields),
    deadlineMs: call.deadlineMs,
    answerTimeoutMs: cart.requestTimeoutMs,
    signal: call.signal,
    onSent: call.onSent,
    allowPrivateAddress: cart.allowPrivateAddress,
    // A doubt costs the cart's whole quiet time here, a new connection only a round trip.
    reuseConnection: kind === 'read',
  });
  const text = decodeText(answer.body, answer.headers['content-type'] ?? '');
  if (answer.status !== 200) {
    const hint =
      answer.status >= 300 && answer.status < 400 ? ' (redirects are not followed: enter the final address)' : '';
    const response = answerText(`HTTP ${answer.status}${hint}: ${text}`, [cart.secret]);
    // A gateway that lost patience (502, 503, 504) says nothing of the script behind it.
    const answered = answer.status === 500;
    throw kind === 'write' ? new OutcomeUnknownError(response, { answered }) : new CartRejectedError(response);
  }
  try {
    refuseSetiError(text, kind === 'write');
  } catch (error) {
    throw error instanceof CartError ? withoutSecrets(error, cart) : error;
  }
  return text;
}

function withoutSecrets(error: CartError, cart: CartConnection): CartError {
  const response = answerText(error.response, [cart.secret]);
  return error instanceof CartRejectedError
    ? new CartRejectedError(response, { scope: error.scope })
    : new OutcomeUnknownError(response, { answered: error instanceof OutcomeUnknownError && error.answered });
}

/** UTF-8 unless the answer declares the older Western encodings, which scripts of old shops do. */
function decodeText(body: Buffer, contentType: string): string {
  const declared =
    /encoding\s*=\s*["']([\w-]+)["']/i.exec(body.subarray(0, 100).toString('latin1'))?.[1] ??
    /charset\s*=\s*"?([\w-]+)/i.exec(contentType)?.[1];
  return new TextDecoder(
    /^(?:iso-8859-1|windows-1252|latin1)$/i.test(declared ?? '') ? 'windows-1252' : 'utf-8',
  ).decode(body);
}
