// Works on one import in a process of its own, for a test that kills it in the middle.
// Runs the source through vite, as the tests do, so it needs no build.
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';

const source = fileURLToPath(new URL('import-process.ts', import.meta.url));
const { module } = await runnerImport(source, { configFile: false, logLevel: 'error' });
await module.workOnImport(JSON.parse(process.env['IMPORT_PROCESS'] ?? ''));
