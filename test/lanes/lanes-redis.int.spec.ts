import { describeWithRedis, testRedis } from '../support/redis.js';
import { laneSuite } from './lane-suite.js';

describeWithRedis('with Redis', () => {
  laneSuite('Redis', () => ({ redisUrl: testRedis().url }));
});
