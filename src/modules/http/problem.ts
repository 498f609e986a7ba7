import { HttpException } from '@nestjs/common';
import type { Refusal, RefusalCode } from '../../events/commands.js';

/** One input that was wrong: `field` is a path such as `lines.0.quantity`. */
export interface ProblemField {
  readonly field: string;
  readonly detail: string;
}

/** The body of every error answer (RFC 9457, `application/problem+json`). */
export interface ProblemBody {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  /** A sentence that says what to do. */
  readonly detail: string;
  readonly fields?: readonly ProblemField[];
  readonly instance?: string;
}

/** An error that is answered as it stands. Its code is stable: clients branch on `type`, never on `detail`. */
export class Problem extends HttpException {
  constructor(
    readonly code: ProblemCode,
    detail: string,
    readonly fields: readonly ProblemField[] = [],
  ) {
    super(detail, problems[code].status);
  }

  body(instance?: string): ProblemBody {
    return problemBody(this.code, this.message, this.fields, instance);
  }
}

export function problemBody(
  code: ProblemCode,
  detail: string,
  fields: readonly ProblemField[] = [],
  instance?: string,
): ProblemBody {
  const { status, title } = problems[code];
  return {
    type: `urn:onhand:problem:${code}`,
    title,
    status,
    detail,
    ...(fields.length > 0 && { fields }),
    ...(instance !== undefined && { instance }),
  };
}

export function refusalProblem(refusal: Refusal): Problem {
  const fields = refusal.field === undefined ? [] : [{ field: refusal.field, detail: refusal.detail }];
  return new Problem(refusal.code, refusal.detail, fields);
}

/** Codes, titles and statuses in one place. A code is never renamed; the refusals of commands carry their own name. */
export const problems = {
  'malformed-request': { status: 400, title: 'The request could not be read' },
  'invalid-request': { status: 400, title: 'The request has wrong fields' },
  'invalid-cursor': { status: 400, title: 'The cursor is not one of ours' },
  unauthorized: { status: 401, title: 'An API key is needed' },
  forbidden: { status: 403, title: 'The API key may not do this' },
  'not-found': { status: 404, title: 'There is nothing here' },
  'request-timeout': { status: 408, title: 'The request did not arrive in time' },
  'headers-too-large': { status: 431, title: 'The headers are too large' },
  'too-large': { status: 413, title: 'The request is too large' },
  'unsupported-media-type': { status: 415, title: 'Send JSON' },
  'too-many-requests': { status: 429, title: 'Too many requests' },
  fault: { status: 500, title: 'Something went wrong on our side' },
  unavailable: { status: 503, title: 'Not ready yet' },
  'unknown-item': { status: 404, title: 'No such item' },
  'unknown-location': { status: 404, title: 'No such location' },
  'unknown-cart': { status: 404, title: 'No such cart' },
  'unknown-cart-type': { status: 404, title: 'No such cart type' },
  'unknown-order': { status: 404, title: 'No such order' },
  'unknown-reset-source': { status: 404, title: 'No such reset source' },
  'unknown-count': { status: 404, title: 'No such count session' },
  'unknown-reset-file': { status: 404, title: 'No such reset file' },
  'reset-source-failed': { status: 422, title: 'The reset source could not be reached or refused' },
  'unknown-transfer': { status: 404, title: 'No such transfer' },
  'unknown-kit': { status: 404, title: 'No such kit' },
  'item-is-kit': { status: 409, title: 'The item is a kit' },
  'kit-not-possible': { status: 409, title: 'The kit is not possible' },
  'unknown-rule': { status: 404, title: 'No such rule' },
  'unknown-record': { status: 404, title: 'No such record on the Web Stack' },
  'unknown-listing': { status: 404, title: 'No such listing' },
  'unknown-push': { status: 404, title: 'No such push' },
  'unknown-drift': { status: 404, title: 'No such drift' },
  'unknown-comparison': { status: 404, title: 'No such comparison' },
  'unknown-probe': { status: 404, title: 'No such probe' },
  'unknown-api-key': { status: 404, title: 'No such API key' },
  'last-admin-key': { status: 409, title: 'Nobody would be left who may make keys' },
  'already-exists': { status: 409, title: 'It exists already' },
  'version-conflict': { status: 409, title: 'It has changed meanwhile' },
  'not-enough-in-transit': { status: 409, title: 'That many pieces are not in transit' },
  'not-enough-there': { status: 409, title: 'That many pieces are not there' },
  'transfer-closed': { status: 409, title: 'The transfer is closed' },
  'not-allowed-now': { status: 409, title: 'Not possible in this state' },
  'time-in-future': { status: 422, title: 'The time lies in the future' },
  'quantity-out-of-range': { status: 422, title: 'The quantity is out of range' },
  'idempotency-key-reused': { status: 422, title: 'The idempotency key belongs to another request' },
  'cart-call-failed': { status: 422, title: 'The cart could not be reached or refused' },
} as const satisfies Record<RefusalCode, { status: number; title: string }> &
  Record<string, { status: number; title: string }>;

export type ProblemCode = keyof typeof problems;
