import { describe, expect, it } from 'vitest';
import { choosePostgres, chooseRedis, limitTo, type Surroundings } from './choose-servers.js';

const nothing: Surroundings = {
  testDatabaseUrl: undefined,
  testRedisUrl: undefined,
  dockerAnswers: false,
  redisBinary: undefined,
  canInstallWithApt: false,
};
const everything: Surroundings = {
  testDatabaseUrl: 'postgresql://db.test/x',
  testRedisUrl: 'redis://cache.test',
  dockerAnswers: true,
  redisBinary: '/usr/bin/redis-server',
  canInstallWithApt: true,
};

describe('choosePostgres', () => {
  it('takes the given server before all others', () => {
    expect(choosePostgres(everything)).toEqual({ kind: 'given', url: 'postgresql://db.test/x' });
  });
  it('takes a container where a Docker engine answers', () => {
    expect(choosePostgres({ ...nothing, dockerAnswers: true })).toEqual({ kind: 'container' });
  });
  it('falls back to the embedded server, which is always there', () => {
    expect(choosePostgres(nothing)).toEqual({ kind: 'embedded' });
  });
  it('treats an empty variable as not set', () => {
    expect(choosePostgres({ ...nothing, testDatabaseUrl: ' ' })).toEqual({ kind: 'embedded' });
  });
});

describe('chooseRedis', () => {
  it('goes from the given one over a program on PATH and a container to apt', () => {
    expect(chooseRedis(everything)).toEqual({ kind: 'given', url: 'redis://cache.test' });
    expect(chooseRedis({ ...everything, testRedisUrl: '' })).toEqual({ kind: 'binary', path: '/usr/bin/redis-server' });
    expect(chooseRedis({ ...nothing, dockerAnswers: true, canInstallWithApt: true })).toEqual({ kind: 'container' });
    expect(chooseRedis({ ...nothing, canInstallWithApt: true })).toEqual({ kind: 'apt' });
  });
  it('says how to get one where there is none', () => {
    expect(chooseRedis(nothing)).toMatchObject({
      kind: 'unavailable',
      remedy: expect.stringContaining('TEST_REDIS_URL'),
    });
  });
});

describe('limitTo', () => {
  const around: Surroundings = { ...everything, testDatabaseUrl: undefined, testRedisUrl: undefined };
  const chosen = (wish: string | undefined) => {
    const left = limitTo(wish, around);
    return [choosePostgres(left).kind, chooseRedis(left).kind];
  };
  it('takes what is there as long as nothing is wished', () => {
    expect([chosen(undefined), chosen('')]).toEqual([
      ['container', 'binary'],
      ['container', 'binary'],
    ]);
  });
  it('uses programs only, or containers only', () => {
    expect(chosen('local')).toEqual(['embedded', 'binary']);
    expect(chosen('containers')).toEqual(['container', 'container']);
  });
  it('does not take something else where the wish cannot be met', () => {
    expect(() => limitTo('containers', { ...around, dockerAnswers: false })).toThrow('no Docker engine answers');
    expect(() => limitTo('docker', around)).toThrow('"local" or "containers"');
  });
});
