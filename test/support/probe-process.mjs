// One probe of a cart in a process of its own, for tests that kill it in the middle of a call.
// Runs the source through vite, as the tests do, so it needs no build.
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';

const source = fileURLToPath(new URL('probe-process.ts', import.meta.url));
const { module } = await runnerImport(source, { configFile: false, logLevel: 'error' });
await module.runProbe(JSON.parse(process.env['PROBE_PROCESS'] ?? ''));
