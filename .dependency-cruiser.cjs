/**
 * Imports point one way: modules → cart-workers → projections → events. Files directly in src/ (configuration, pools,
 * wake-ups) are the ground that every folder stands on; main, cli and app.module stand above all of them.
 */
const tests = String.raw`\.spec\.ts$`;
const top = String.raw`^src/(main|cli|app\.module)\.ts$`;

/** `from` may not import from the folders above it. */
function upwards(folder, above) {
  return {
    name: `${folder}-imports-nothing-above`,
    comment: `${folder} must not know ${above.join(', ')}; hand it what it needs instead`,
    severity: 'error',
    from: { path: `^src/${folder}/`, pathNot: tests },
    to: { path: `^src/(${above.join('|')})/` },
  };
}

module.exports = {
  forbidden: [
    upwards('events', ['projections', 'cart-workers', 'modules']),
    upwards('projections', ['cart-workers', 'modules']),
    upwards('cart-workers', ['modules']),
    {
      name: 'ground-imports-no-folder',
      comment: 'Files directly in src/ carry the folders; they must not depend on one',
      severity: 'error',
      from: { path: '^src/[^/]+$', pathNot: [tests, top] },
      to: { path: '^src/(events|projections|cart-workers|modules)/' },
    },
    {
      name: 'command-line-speaks-http-only',
      comment:
        'The command line knows the hub by its API; of its sources it may use types and the version, nothing that runs',
      severity: 'error',
      from: { path: '^src/command-line/', pathNot: tests },
      to: {
        path: '^src/(events|projections|cart-workers|modules)/|^src/[^/]+$',
        pathNot: '^src/modules/start/version\\.ts$',
        dependencyTypesNot: ['type-only'],
      },
    },
    {
      name: 'only-cli-starts-the-command-line',
      severity: 'error',
      from: { path: '^src/', pathNot: [tests, '^src/(command-line/|cli\\.ts$)'] },
      to: { path: '^src/command-line/' },
    },
    {
      name: 'deciders-are-pure',
      comment: 'A decider gets everything with its command: no framework, no database, no clock, no I/O',
      severity: 'error',
      from: {
        path: '^src/events/(stock-item|order|cart|rule|rule-set|item|transfer|decision|facts|commands|streams)\\.ts$',
      },
      to: { pathNot: '^src/events/|^node_modules/zod/' },
    },
    {
      name: 'nobody-imports-the-top',
      comment: 'main, cli and app.module start things; nothing may depend on them',
      severity: 'error',
      from: { path: '^src/', pathNot: [tests, top] },
      to: { path: top },
    },
    {
      name: 'source-does-not-import-tests-or-samples',
      severity: 'error',
      from: { path: '^src/', pathNot: tests },
      to: { path: '^(test|samples|bench)/|\\.spec\\.ts$' },
    },
    {
      name: 'no-cycles',
      comment: 'Files that need each other are one file, or a third one is missing',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'only-production-packages',
      comment: 'What src/ imports must be in dependencies, or the image lacks it',
      severity: 'error',
      from: { path: '^src/', pathNot: tests },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['type-only'] },
    },
    { name: 'not-resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
      extensions: ['.ts', '.js', '.mjs', '.json'],
    },
  },
};
