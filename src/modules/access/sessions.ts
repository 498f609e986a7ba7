import { hkdfSync } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Config } from '../../config.js';
import { CONFIG } from '../tokens.js';
import { ApiKeys, type KeyHolder } from './api-keys.js';

/**
 * Finds out who is calling: by an API key in a header, or by the signed cookie that the sign-in page sets for browsers.
 * The cookie names the key by its id, so revoking the key ends its sessions.
 */
@Injectable()
export class Sessions {
  constructor(
    private readonly keys: ApiKeys,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  async callerOf(request: FastifyRequest): Promise<KeyHolder | null> {
    const key = keyOf(request);
    if (key !== null) return this.keys.check(key);
    const id = sessionOf(request);
    return id === null ? null : this.keys.checkId(id);
  }

  /**
   * Whether a change was asked for by a page of ours and not by another that merely used the browser's cookie. SameSite
   * does not tell ports of one host apart, and browsers do not say where a request comes from to a hub on plain HTTP; but
   * a page elsewhere cannot add a header of its own without asking first, and the hub never agrees.
   */
  isMeant(request: FastifyRequest): boolean {
    return keyOf(request) !== null || request.headers[MEANT_HEADER.toLowerCase()] !== undefined;
  }

  /** Sets the cookie for somebody whose key was checked. */
  signIn(holder: KeyHolder, reply: FastifyReply): void {
    const until = Date.now() + SESSION_MS;
    reply.setCookie(COOKIE, `${holder.id}.${until}`, {
      signed: true,
      path: '/',
      httpOnly: true,
      sameSite: 'strict',
      secure: this.config.baseUrl?.startsWith('https:') ?? false,
      maxAge: SESSION_MS / 1000,
    });
  }

  signOut(reply: FastifyReply): void {
    reply.clearCookie(COOKIE, { path: '/' });
  }
}

/** Pages of the hub send it with every change; the value does not matter. */
export const MEANT_HEADER = 'X-Onhand-Request';
const COOKIE = 'onhand_session';
const SESSION_MS = 12 * 3_600_000;

/** What cookies are signed with; the same in every process, because it follows from the encryption key. */
export function cookieSecret(encryptionKey: Buffer): string {
  return Buffer.from(hkdfSync('sha256', encryptionKey, '', 'onhand browser session', 32)).toString('base64');
}

/** The API key of a request's headers, right or wrong. */
export function keyOf(request: FastifyRequest): string | null {
  const own = request.headers['x-api-key'];
  if (typeof own === 'string' && own !== '') return own;
  const match = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '');
  return match?.[1] ?? null;
}

/**
 * The key's id of a session that is still good. Browsers say where a request comes from; one that another site caused is
 * not believed, although SameSite=Strict should have kept the cookie from it already.
 */
function sessionOf(request: FastifyRequest): string | null {
  const site = request.headers['sec-fetch-site'];
  if (request.method !== 'GET' && site !== undefined && site !== 'same-origin' && site !== 'none') return null;
  const cookie = request.cookies[COOKIE];
  if (cookie === undefined) return null;
  const unsigned = request.unsignCookie(cookie);
  if (!unsigned.valid) return null;
  const [id, until] = unsigned.value.split('.');
  return id !== undefined && Number(until) > Date.now() ? id : null;
}
