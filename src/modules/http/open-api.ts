/** For @ApiHeader on every route that records facts. */
export const idempotencyHeader = {
  name: 'Idempotency-Key',
  required: false,
  description:
    'Makes the request repeatable: the same key and body get the same answer again (Idempotent-Replayed: true), the same key with another body is refused. Keys belong to the API key.',
  schema: { type: 'string', maxLength: 200 },
} as const;
