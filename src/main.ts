import process from 'node:process';
import { nodeProblem } from './node-version.js';

const problem = nodeProblem(process.versions.node);
if (problem === null) {
  // Not awaited here: an old Node would fail at a top-level await before it could say what it lacks.
  void import('./modules/start/run-main.js').then(({ runMain }) =>
    runMain(process.argv.slice(2), () => import('./app.module.js')),
  );
} else {
  process.stderr.write(problem + '\n');
  process.exitCode = 1;
}
