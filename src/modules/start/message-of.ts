/** What an error says, for a sentence. */
export function messageOf(error: unknown): string {
  // A refused connection to several addresses is an AggregateError with an empty message.
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ');
  return error instanceof Error ? error.message : String(error);
}
