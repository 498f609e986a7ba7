import { defineConfig } from 'vitest/config';

/**
 * The suffix of a test file tells its cost: `.spec` is pure, `.int.spec` needs the real servers, `.e2e.spec` starts whole
 * processes. Two projects, because only the last two kinds are worth starting PostgreSQL and Redis for.
 */
const WITH_SERVERS = ['{src,test}/**/*.{int,e2e}.spec.ts'];

export default defineConfig({
  test: {
    environment: 'node',
    // Retries would hide races, which are what these tests are for.
    retry: 0,
    // A condition that is waited for may take long on a busy machine; a test that fails says so a little later.
    expect: { poll: { timeout: 10_000, interval: 20 } },
    pool: 'forks',
    maxWorkers: 2,
    passWithNoTests: false,
    slowTestThreshold: 1000,
    teardownTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'pure',
          include: ['{src,test}/**/*.spec.ts'],
          exclude: [...WITH_SERVERS, '**/node_modules/**'],
          testTimeout: 20_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'servers',
          include: WITH_SERVERS,
          globalSetup: ['test/support/global-setup.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
