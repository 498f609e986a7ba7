// Calls to the hub's API with the session of this browser.

/** The hub's own sentence; `status` is 0 when it did not answer at all. */
export class CallError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export const get = (path) => call('GET', path);
export const post = (path, body) => call('POST', path, body);

async function call(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      credentials: 'same-origin',
      headers: {
        Accept: 'application/json',
        ...(body !== undefined && { 'Content-Type': 'application/json' }),
        // Without it the hub lets no session change anything: another site's page could not add it.
        ...(method !== 'GET' && { 'X-Onhand-Request': 'road' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  } catch {
    throw new CallError('The hub does not answer.', 0);
  }
  if (answer.status === 401) signIn();
  const said = await answer.json().catch(() => null);
  if (!answer.ok) throw new CallError(said?.detail ?? `The hub answered ${answer.status}.`, answer.status);
  return said;
}

/** The session is over: sign in again and come back here. */
export function signIn() {
  location.assign(`/sign-in?to=${encodeURIComponent(location.pathname)}`);
}
