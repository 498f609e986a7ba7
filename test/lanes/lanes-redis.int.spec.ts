import { describe } from 'vitest';
import { findRedis } from '../../samples/redis.mjs';
import { describeWithRedis, testRedis } from '../support/redis.js';
import { flushedSuite } from './lane-suite-flushed.js';
import { laneSuites } from './lane-suites.js';

describeWithRedis('with Redis', () => {
  laneSuites('Redis', () => ({ redisUrl: testRedis().url }));
});

// A shared Redis must not be flushed, so this needs a program to start one of its own.
if (findRedis() === undefined) describe.skip('a Redis that is flushed', () => undefined);
else flushedSuite();
