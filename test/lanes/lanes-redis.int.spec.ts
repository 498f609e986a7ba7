import { describeWithRedis, testRedis } from '../support/redis.js';
import { laneSuites } from './lane-suites.js';

describeWithRedis('with Redis', () => {
  laneSuites('Redis', () => ({ redisUrl: testRedis().url }));
});
