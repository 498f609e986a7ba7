import { Command, CommanderError, Option } from 'commander';
import { version } from '../modules/start/version.js';
import { addCartCommands } from './carts.js';
import { addDeadLetterCommands } from './dead-letters.js';
import { addDoctorCommand } from './doctor.js';
import { addCountCommands } from './counts.js';
import { addExplainCommand } from './explain.js';
import { CommandLineError, exitCodes, type ExitCode } from './exit-codes.js';
import { addDriftCommands } from './drifts.js';
import { addHubCommands } from './hub-commands.js';
import { addImportCommand } from './imports.js';
import { addItemCommands } from './items.js';
import { addKeyCommands } from './keys.js';
import { addLocationCommands } from './locations.js';
import { addMovementsCommand } from './movements.js';
import { examples } from './options.js';
import { addOrderCommands } from './orders.js';
import { addPointOfSaleCommands } from './point-of-sale.js';
import { addProjectionCommands } from './projections.js';
import { addResetCommands } from './reset.js';
import type { Runtime } from './session.js';
import { addQohCommands } from './qoh.js';
import { addPushCommands } from './pushes.js';
import { addStackCommands } from './web-stack.js';
import { addStockCommands } from './stock.js';
import { plainText } from './table.js';
import { addTransferCommands } from './transfers.js';
import { addKitCommands } from './kits.js';
import { addRuleCommands } from './rules.js';
import { addDoubtfulCommands } from './doubtful.js';
import { addUnknownCommands } from './unknown-skus.js';

/** Runs one command line. @returns the exit code; nothing is thrown and nothing ends the process here */
export async function runCommandLine(args: readonly string[], runtime: Runtime): Promise<number> {
  const program = buildProgram(runtime);
  try {
    await program.parseAsync(args, { from: 'user' });
    return runtime.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    const { json, verbose } = program.opts<{ json?: boolean; verbose?: boolean }>();
    return report(runtime, error, json === true, verbose === true);
  }
}

export function buildProgram(runtime: Runtime): Command {
  const program = new Command('onhand')
    .description('One stock number, every cart, within seconds. The command line of Onhand, thin over its API.')
    .version(version, '-v, --version')
    .option(
      '--url <address>',
      'the hub; left out: ONHAND_URL, else hub.json in ONHAND_DATA_DIR (.onhand), else http://127.0.0.1:3000',
    )
    .option('--key-file <file>', 'a file that holds the API key; left out: ONHAND_API_KEY')
    .addOption(new Option('--api-key <key>', 'the API key in clear').hideHelp())
    .option('--json', 'print exactly what the API answered')
    .option('--timeout <seconds>', 'the longest wait for one answer of the hub', '30')
    .option('--verbose', 'say what is sent, with its idempotency key')
    .option('--no-color', 'no colours; NO_COLOR does the same')
    .exitOverride()
    .showHelpAfterError('Add --help for what is possible.')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => void runtime.stdout.write(text),
      writeErr: (text) => void runtime.stderr.write(text),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
  examples(
    program,
    'receive MUG 100 --location main',
    'item MUG',
    'carts try main-shop --sku MUG',
    'doctor',
  ).addHelpText(
    'after',
    '\nExit codes: 0 done · 1 refused, or not well · 2 wrong command line · 3 hub not reachable · 4 key not valid or not\nenough · 5 no answer in time, or late · 130 interrupted',
  );
  addStockCommands(program, runtime);
  addMovementsCommand(program, runtime);
  addTransferCommands(program, runtime);
  addItemCommands(program, runtime);
  addExplainCommand(program, runtime);
  addImportCommand(program, runtime);
  addLocationCommands(program, runtime);
  addOrderCommands(program, runtime);
  addPointOfSaleCommands(program, runtime);
  addResetCommands(program, runtime);
  addCountCommands(program, runtime);
  addCartCommands(program, runtime);
  addUnknownCommands(program, runtime);
  addKitCommands(program, runtime);
  addRuleCommands(program, runtime);
  addDoubtfulCommands(program, runtime);
  addStackCommands(program, runtime);
  addDeadLetterCommands(program, runtime);
  addQohCommands(program, runtime);
  addDriftCommands(program, runtime);
  addPushCommands(program, runtime);
  addHubCommands(program, runtime);
  addProjectionCommands(program, runtime);
  addKeyCommands(program, runtime);
  addDoctorCommand(program, runtime);
  return program;
}

function report(runtime: Runtime, error: unknown, json: boolean, verbose: boolean): ExitCode {
  if (error instanceof CommandLineError) {
    if (json && error.answer !== null) runtime.stdout.write(`${error.answer}\n`);
    runtime.stderr.write(`${error.message.split('\n').map(plainText).join('\n')}\n`);
    return error.exitCode;
  }
  // Answers are read as this version's hub gives them; another version's may look otherwise.
  const what = error instanceof Error ? error.message : String(error);
  runtime.stderr.write(
    `The answer was not understood (${what}). Are the hub and this command line (${version}) of one version? onhand doctor tells.\n`,
  );
  if (verbose && error instanceof Error) runtime.stderr.write(`${error.stack ?? ''}\n`);
  return exitCodes.refused;
}
