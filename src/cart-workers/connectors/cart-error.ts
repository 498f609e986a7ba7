/**
 * The ways a call to a cart can fail, told apart by the one thing that matters: whether anything was applied.
 * Unreachable, throttled and rejected are proof that nothing was; an unknown outcome proves nothing.
 */
export abstract class CartError extends Error {
  abstract readonly code: string;
  /** `definite`: nothing was applied. `ambiguous`: it may have been. */
  abstract readonly certainty: 'definite' | 'ambiguous';

  constructor(
    /** The cart's own words or the socket's, shortened, without secrets: shown as the last response. */
    readonly response: string,
    options?: { cause?: unknown },
  ) {
    super(response, options);
    this.name = new.target.name;
  }
}

/** No byte of the request left this machine: refused connection, unknown host, connect time-out, deadline passed before the write. */
export class CartUnreachableError extends CartError {
  readonly code = 'cart-unreachable';
  readonly certainty = 'definite';
}

/** The cart asked for patience and applied nothing (429, or its protocol's equivalent). */
export class CartThrottledError extends CartError {
  readonly code = 'cart-throttled';
  readonly certainty = 'definite';

  constructor(
    response: string,
    readonly retryAfterMs: number | null,
    options?: { cause?: unknown },
  ) {
    super(response, options);
  }
}

/** The cart refused the whole request and said so before touching stock: wrong password, wrong signature, malformed. */
export class CartRejectedError extends CartError {
  readonly code = 'cart-rejected';
  readonly certainty = 'definite';
  /** `cart`: nothing can be delivered until somebody mends the connection. `request`: it is about what this request holds. */
  readonly scope: 'cart' | 'request';

  constructor(response: string, options?: { cause?: unknown; scope?: 'cart' | 'request' }) {
    super(response, options);
    this.scope = options?.scope ?? 'request';
  }
}

/** Bytes left and no believable answer came back: a cut connection, a time-out, a 5xx, garbage. */
export class OutcomeUnknownError extends CartError {
  readonly code = 'outcome-unknown';
  readonly certainty = 'ambiguous';
  /** Whether an answer did come, unbelievable as it is: then nothing of the request runs inside the cart any more. */
  readonly answered: boolean;

  constructor(response: string, options?: { cause?: unknown; answered?: boolean }) {
    super(response, options);
    this.answered = options?.answered ?? false;
  }
}

/** The URL may not be called at all: not http(s), or an address in a private range that is not allowed. */
export class CartUrlRefusedError extends CartError {
  readonly code = 'cart-url-refused';
  readonly certainty = 'definite';
}
