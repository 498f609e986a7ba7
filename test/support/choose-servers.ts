/**
 * Which PostgreSQL and which Redis the tests run against. Pure: what is there comes in, the decision goes out;
 * global-setup.ts looks and acts.
 */
export interface Surroundings {
  readonly testDatabaseUrl: string | undefined;
  readonly testRedisUrl: string | undefined;
  readonly dockerAnswers: boolean;
  /** Path of a redis-server or valkey-server. */
  readonly redisBinary: string | undefined;
  /** A Debian-like system where we are root. */
  readonly canInstallWithApt: boolean;
}

export type PostgresChoice =
  | { readonly kind: 'given'; readonly url: string }
  | { readonly kind: 'container' }
  | { readonly kind: 'embedded' };

export type RedisChoice =
  | { readonly kind: 'given'; readonly url: string }
  | { readonly kind: 'binary'; readonly path: string }
  | { readonly kind: 'container' }
  | { readonly kind: 'apt' }
  | { readonly kind: 'unavailable'; readonly remedy: string };

/**
 * TEST_SERVERS takes a part of what is there out of sight, so that a run is known to have used the other: `local` knows no
 * Docker, `containers` no program.
 * @throws Error where there is nothing left to take, or the word is none of these
 */
export function limitTo(wish: string | undefined, around: Surroundings): Surroundings {
  switch (wish) {
    case undefined:
    case '':
      return around;
    case 'local':
      return { ...around, dockerAnswers: false };
    case 'containers':
      if (!around.dockerAnswers) throw new Error('TEST_SERVERS is "containers", and no Docker engine answers.');
      return { ...around, redisBinary: undefined };
    default:
      throw new Error(`TEST_SERVERS is "${wish}"; it can be "local" or "containers".`);
  }
}

/** A container before the embedded one, because it is the server that production runs. */
export function choosePostgres(around: Surroundings): PostgresChoice {
  if (isSet(around.testDatabaseUrl)) return { kind: 'given', url: around.testDatabaseUrl };
  return around.dockerAnswers ? { kind: 'container' } : { kind: 'embedded' };
}

/** A program that is already here before a container, because it starts in milliseconds; installing is the last resort. */
export function chooseRedis(around: Surroundings): RedisChoice {
  if (isSet(around.testRedisUrl)) return { kind: 'given', url: around.testRedisUrl };
  if (around.redisBinary !== undefined) return { kind: 'binary', path: around.redisBinary };
  if (around.dockerAnswers) return { kind: 'container' };
  if (around.canInstallWithApt) return { kind: 'apt' };
  return { kind: 'unavailable', remedy: HOW_TO_GET_REDIS };
}

export const HOW_TO_GET_REDIS =
  'Install redis-server or valkey-server, start Docker, or set TEST_REDIS_URL to a Redis that may be emptied.';

function isSet(value: string | undefined): value is string {
  return value !== undefined && value.trim() !== '';
}
