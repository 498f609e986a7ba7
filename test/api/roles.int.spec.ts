import { afterEach, describe, expect, it } from 'vitest';
import { startHubUnderTest, type HubUnderTest } from './hub-under-test.js';

/**
 * A linter that turned one injected class into `import type` broke Nest at boot while tsc stayed green; so every
 * combination of roles is started once.
 */
describe('a process starts and stops with', () => {
  let started: HubUnderTest | undefined;
  afterEach(async () => {
    await started?.close();
    started = undefined;
  });

  for (const roles of [
    'api',
    'projector',
    'worker',
    'api,projector',
    'api,worker',
    'projector,worker',
    'api,projector,worker',
  ]) {
    it(`the roles ${roles}`, async () => {
      started = await startHubUnderTest({ ONHAND_ROLES: roles });
      if (!roles.includes('api')) {
        expect(started.hub.url).toBeNull();
        return;
      }
      const status = await started.call('GET', '/v1/status');
      expect(status.body).toMatchObject({ roles: roles.split(','), backend: { queues: 'postgres' } });
    });
  }
});
