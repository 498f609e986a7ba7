import { Injectable } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Problem } from '../http/problem.js';
import type { CallerRequest } from './access.guard.js';
import { ApiKeys, type KeyHolder } from './api-keys.js';
import { Sessions, keyOf } from './sessions.js';
import { clientAddress, Throttle, type Allowance } from './throttle.js';

/** The routes that are counted differently, as Fastify names them. */
const LIVE = '/v1/health/live';
const WEBHOOKS = '/v1/carts/:id/webhooks';

/**
 * Before anything of a request is read: who calls, and whether it is too much. A supervisor that asks whether the process
 * lives is never refused.
 */
@Injectable()
export class Admission {
  /**
   * Looks at keys that were not right here before. Who comes with the same key from the same address meanwhile waits for
   * the same answer: a burst of calls under one key is one try, not as many guesses as calls.
   */
  private readonly firstLooks = new Map<string, Promise<KeyHolder | null | number>>();

  constructor(
    private readonly keys: ApiKeys,
    private readonly sessions: Sessions,
    private readonly throttle: Throttle,
  ) {}

  /**
   * Notes the caller on the request; null: nobody we know.
   * @throws Problem too-many-requests, after Retry-After was set
   */
  async admit(request: CallerRequest, reply: FastifyReply): Promise<void> {
    const route = request.routeOptions.url;
    if (route === LIVE) return;
    const address = clientAddress(request.ip);
    if (route === WEBHOOKS) return this.take('webhook', address, reply);
    const key = keyOf(request);
    request.caller = key === null ? await this.sessions.callerOf(request) : await this.checkKey(key, request.ip, reply);
    if (request.caller === null) await this.take('address', address, reply);
    else await this.take('api-key', request.caller.id, reply);
  }

  /**
   * Resolves with the holder of a valid key, else with null. Each wrong key costs its address one of few tries; a key
   * that was right here before is not held up by wrong ones from the same address.
   * @throws Problem too-many-requests, before the key was looked at
   */
  async checkKey(key: string, ip: string, reply: FastifyReply): Promise<KeyHolder | null> {
    if (this.keys.wasValid(key)) {
      const holder = await this.keys.check(key);
      if (holder !== null) return holder;
    }
    const address = clientAddress(ip);
    const name = `${address} ${key}`;
    let look = this.firstLooks.get(name);
    if (look === undefined) {
      look = this.lookAt(key, address).finally(() => this.firstLooks.delete(name));
      this.firstLooks.set(name, look);
    }
    const found = await look;
    if (typeof found === 'number') this.refuse('wrong-key', found, reply);
    return found;
  }

  /** @returns its holder, null where it is wrong, or in how many seconds it may be looked at */
  private async lookAt(key: string, address: string): Promise<KeyHolder | null | number> {
    // Taken first and given back, so that a thousand guesses at the same moment are not all the first one.
    const waitS = await this.throttle.take('wrong-key', address);
    if (waitS !== null) return waitS;
    const holder = await this.keys.check(key);
    if (holder !== null) await this.throttle.giveBack('wrong-key', address);
    return holder;
  }

  private async take(allowance: Allowance, who: string, reply: FastifyReply): Promise<void> {
    const waitS = await this.throttle.take(allowance, who);
    if (waitS !== null) this.refuse(allowance, waitS, reply);
  }

  private refuse(allowance: Allowance, waitS: number, reply: FastifyReply): never {
    reply.header('Retry-After', String(waitS));
    throw new Problem('too-many-requests', sentences[allowance](waitS));
  }
}

const sentences: Readonly<Record<Allowance, (waitS: number) => string>> = {
  'api-key': (waitS) =>
    `This API key has used up its calls of this minute. Go on in ${waitS} s; many rows go faster in one call (POST /v1/movements/batch) or one file (POST /v1/imports).`,
  address: (waitS) => `Too many calls without a valid API key came from your address. Go on in ${waitS} s.`,
  'wrong-key': (waitS) =>
    `Too many wrong API keys came from your address. Try again in ${waitS} s with a key that is valid; an admin key lists them at GET /v1/api-keys.`,
  webhook: (waitS) => `Too many webhooks came from your address. Nothing was taken; send it again in ${waitS} s.`,
};
