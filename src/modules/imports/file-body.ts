import { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { Problem } from '../http/problem.js';

/** A sender of whom nothing is heard for so long is gone; Node ends the connection. */
export const SILENCE_MS = 60_000;

/** @throws Problem when it is not CSV */
export function fileOf({ headers, body }: FastifyRequest): {
  bytes: AsyncIterable<Uint8Array>;
  charset: string | undefined;
} {
  // Whatever it is called, there is nothing to read.
  if (headers['content-length'] === '0' && headers['transfer-encoding'] === undefined)
    throw new Problem('invalid-request', 'The file is empty. Its first row names the columns.');
  const [type = '', ...parameters] = (headers['content-type'] ?? '').split(';').map((part) => part.trim());
  if (type.toLowerCase() !== 'text/csv' || !(body instanceof Readable)) {
    throw new Problem('unsupported-media-type', 'Send the file itself as the body, with Content-Type: text/csv.');
  }
  const charset = parameters.find((part) => /^charset=/i.test(part))?.slice('charset='.length);
  // When a file is refused in the middle, the connection must live on: the answer goes back on it.
  return { bytes: body.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>, charset };
}
