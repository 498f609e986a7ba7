// `npm run demo`: installs and builds what is missing, then plays a trading day against a real hub and two sample shops.
// Depends on nothing but Node until the packages are there.
import { EXIT, help, parseOptions } from './demo/options.mjs';
import { ensureBuilt, ensurePackages } from './setup.mjs';

const options = parseOptions(process.argv.slice(2));
if ('problem' in options) {
  process.stderr.write(`${options.problem}\n`);
  process.exit(EXIT.usage);
}
if (options.help) {
  process.stdout.write(help);
  process.exit(EXIT.agree);
}

try {
  await ensurePackages();
  await ensureBuilt();
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(EXIT.fault);
}

const { runDemo } = await import('./demo/driver.mjs');
process.exit(await runDemo(options));
