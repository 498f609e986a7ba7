// `npm start`: installs and builds what is missing, then runs the hub in this very process, so that Ctrl-C and signals
// reach it directly. Settings come from the environment and, if there is one, from the file .env.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ensureBuilt, ensurePackages } from './setup.mjs';

try {
  await ensurePackages();
  await ensureBuilt();
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}

const settings = fileURLToPath(new URL('../.env', import.meta.url));
if (existsSync(settings)) process.loadEnvFile(settings);
await import('../dist/main.js');
