// The worker role of a hub in a process of its own, for tests that kill it in the middle of a call.
// Runs the source through vite, as the tests do, so it needs no build. Says `ready` when its lanes are open.
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';

const source = fileURLToPath(new URL('worker-process.ts', import.meta.url));
const { module } = await runnerImport(source, { configFile: false, logLevel: 'error' });
await module.startWorkerProcess(JSON.parse(process.env['WORKER_PROCESS'] ?? ''));
console.log('ready');
