/** The longest piece of a cart's answer that is kept as the last response, in characters. */
export const RESPONSE_CHARS_MAX = 500;
const SECRET_CHARS_MIN = 4;

/**
 * A cart's own words as they may be stored and shown: on one line, shortened, without control characters, and without
 * any secret that the cart repeated (as some scripts do in their error texts).
 */
export function answerText(text: string, secrets: readonly string[]): string {
  let shown = text;
  for (const secret of secrets) {
    // Hiding a secret of one or two letters would show where in the words they stand, and hide nothing.
    if (secret.length < SECRET_CHARS_MIN) continue;
    shown = shown.replaceAll(secret, '•••');
    const encoded = encodeURIComponent(secret);
    if (encoded !== secret) shown = shown.replaceAll(encoded, '•••');
  }
  // oxlint-disable-next-line no-control-regex -- control characters are what is removed here
  shown = shown.replaceAll(/[\u0000-\u001f\u007f]+/g, ' ').trim();
  return shown.length > RESPONSE_CHARS_MAX ? `${shown.slice(0, RESPONSE_CHARS_MAX - 1)}…` : shown;
}
