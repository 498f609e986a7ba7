import { readFile } from 'node:fs/promises';
import readline from 'node:readline/promises';
import type { ReadStream } from 'node:tty';
import { CommandLineError, exitCodes, UsageError } from './exit-codes.js';
import type { Terminal } from './terminal.js';

/**
 * A question before something that cannot be taken back.
 * @throws CommandLineError when the answer is not yes; UsageError where nobody can be asked
 */
export async function confirm(terminal: Terminal, yes: boolean | undefined, question: string): Promise<void> {
  if (yes === true) return;
  if (terminal.stdin.isTTY !== true) {
    throw new UsageError(`${question} Nobody can be asked here: add --yes if you mean it, or --dry-run to look first.`);
  }
  const asking = readline.createInterface({ input: terminal.stdin, output: terminal.stderr, terminal: true });
  try {
    const answer = await asking.question(`${question} [y/N] `);
    if (/^y(es)?$/i.test(answer.trim())) return;
  } finally {
    asking.close();
  }
  throw new CommandLineError(exitCodes.refused, 'Nothing was done.');
}

/**
 * A secret that is never on the command line: from a file, from a pipe, or typed without echo.
 * @param file a path, or "-" for stdin
 */
export async function readSecret(terminal: Terminal, what: string, file: string | undefined): Promise<string> {
  const secret = await secretFrom(terminal, what, file);
  if (secret === '') throw new UsageError(`${what} is empty. Type it, pipe it in, or name a file with --secret-file.`);
  return secret;
}

async function secretFrom(terminal: Terminal, what: string, file: string | undefined): Promise<string> {
  if (file !== undefined && file !== '-') return withoutLineEnd(await readText(file, '--secret-file'));
  if (terminal.stdin.isTTY === true && file === undefined) return typeUnseen(terminal, what);
  return withoutLineEnd(await readAll(terminal.stdin));
}

/** Only the line's own end goes: a password may well begin or end with a space. */
const withoutLineEnd = (text: string) => text.replace(/\r?\n$/, '');

/** @throws UsageError that names the option and what is wrong with the file */
export async function readText(file: string, option: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const why = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    const said = why === 'ENOENT' ? 'there is no such file' : why === 'EACCES' ? 'it may not be read' : why;
    throw new UsageError(`${option}: ${file} cannot be read: ${said}.`);
  }
}

export async function readAll(stream: Terminal['stdin']): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(Buffer.from(part as Uint8Array | string));
  return Buffer.concat(parts).toString('utf8');
}

function typeUnseen(terminal: Terminal, what: string): Promise<string> {
  const stdin = terminal.stdin as ReadStream;
  terminal.stderr.write(`${what} (not shown): `);
  stdin.setRawMode(true);
  stdin.setEncoding('utf8');
  stdin.resume();
  return new Promise<string>((resolve, reject) => {
    let typed = '';
    const end = () => {
      stdin.off('data', hear);
      stdin.setRawMode(false);
      stdin.pause();
      terminal.stderr.write('\n');
    };
    const hear = (keys: string) => {
      for (const key of keys) {
        if (key === '\r' || key === '\n' || key === '\u0004') {
          end();
          return resolve(typed);
        }
        if (key === '\u0003') {
          end();
          return reject(new CommandLineError(exitCodes.interrupted, 'Nothing was done.'));
        }
        typed = key === '\u007f' || key === '\b' ? Array.from(typed).slice(0, -1).join('') : typed + key;
      }
    };
    stdin.on('data', hear);
  });
}
