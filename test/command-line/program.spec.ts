import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import type { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findHub, findKey } from '../../src/command-line/hub-address.js';
import { parseOrders } from '../../src/command-line/orders.js';
import { problemSentence } from '../../src/command-line/problem-sentence.js';
import { buildProgram } from '../../src/command-line/program.js';
import { confirm, readSecret } from '../../src/command-line/prompt.js';
import { previewLine } from '../../src/command-line/session.js';
import { openTerminal } from '../../src/command-line/terminal.js';
import { runHere } from './run-cli.js';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'onhand-cli-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

function commandsOf(command: Command): Command[] {
  return command.commands.flatMap((inner) => [inner, ...commandsOf(inner)]);
}

const streams = () => ({ stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() });
const program = buildProgram({ env: {}, cwd: '/nowhere', ...streams(), exitCode: 0 });
const all = commandsOf(program);

describe('every command', () => {
  it.each(all.map((command) => [pathOf(command), command] as const))('%s helps with an example', async (name) => {
    const help = await runHere([...name.split(' '), '--help']);
    expect(help).toMatchObject({ code: 0, err: '', out: expect.stringMatching(/Examples?:\n {2}\$ onhand /) });
    expect(help.out).toContain(`$ onhand ${name.split(' ')[0]}`);
  });

  it('that changes something has a dry run, and what cannot be taken back is asked for', () => {
    const changing = all.filter((command) => has(command, '--idempotency-key')).map(pathOf);
    expect(changing.every((name) => has(at(name), '--dry-run'))).toBe(true);
    expect(changing).toEqual(
      expect.arrayContaining([
        'receive',
        'count',
        'transfer ship',
        'orders import',
        'carts add',
        'carts send-qoh',
        'keys create',
        'system on',
        'projections resume',
      ]),
    );
    const asking = all.filter((command) => has(command, '--yes')).map(pathOf);
    expect(asking.sort()).toEqual([
      'carts off',
      'counts approve',
      'dead-letters discard',
      'keys revoke',
      'projections rebuild',
      'pushes reject',
      'reset apply',
      'reset remove',
      'reset test',
      'system off',
    ]);
  });

  it('keeps the global options to itself', () => {
    const global = program.options.map(({ long }) => long);
    for (const command of all) {
      const own = command.options.map(({ long }) => long).filter((long) => global.includes(long));
      expect([pathOf(command), own]).toEqual([pathOf(command), []]);
    }
  });
});

const at = (name: string) => all.find((command) => pathOf(command) === name)!;
const has = (command: Command, long: string) => command.options.some((option) => option.long === long);
function pathOf(command: Command): string {
  const above = command.parent === null || command.parent.parent === null ? '' : `${pathOf(command.parent)} `;
  return above + command.name();
}

describe('a wrong command line', () => {
  const key = { ONHAND_API_KEY: 'ohk_x' };
  it.each([
    [['fly'], /unknown command 'fly'/],
    [['receive', 'MUG'], /missing required argument 'quantity'/],
    [['receive', 'MUG', '5', '--loud'], /unknown option '--loud'/],
    [['stack', 'list', '--state', 'lost'], /Allowed choices are waits/],
    [['transfer', 'ship', 'T-1', 'MUG=1', '--from', 'main'], /required option '--to <location>'/],
    [['transfer', 'ship', 'T-1', 'MUG', '--from', 'a', '--to', 'b'], /should look like MUG=5/],
    [['receive', 'MUG', 'five', '-l', 'main'], /The quantity must be a whole number/],
    [['carts', 'map', 'shop'], /Name either rows/],
    [['carts', 'change', 'shop'], /Name at least one thing/],
    [['lanes', '--timeout', '0'], /--timeout must be more than 0/],
    [['lanes', '--url', 'hub'], /"hub" is not the address of a hub/],
    [['lanes', '--url', 'http://me:pw@hub'], /no user or password/],
    [['lanes', '--key-file', '/no/such/file'], /there is no such file/],
    [['orders', 'import', '/no/such/file'], /there is no such file/],
    [['receive', 'MUG', '5', '-l', 'main', '--idempotency-key', 'ü'], /--idempotency-key must be/],
  ])('%j is refused with 2 before anything is sent', async (args, sentence) => {
    expect(await runHere(args, key)).toMatchObject({ code: 2, out: '', err: expect.stringMatching(sentence) });
  });

  it('a negative difference is an argument, not an option', async () => {
    const away = { ...key, ONHAND_URL: 'http://127.0.0.1:1' };
    expect(await runHere(['adjust', 'MUG', '-3', '-l', 'main', '--timeout', '5'], away)).toMatchObject({ code: 3 });
  });

  it('without a command it helps and ends with 2; with --help or --version it ends with 0', async () => {
    expect(await runHere([])).toMatchObject({ code: 2, err: expect.stringContaining('Exit codes: 0 done') });
    expect(await runHere(['--version'])).toMatchObject({ code: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
  });
});

describe('the hub and the key', () => {
  it('are found by option, environment, the hub’s own file, and the usual address, in this order', async () => {
    const data = path.join(dir, '.onhand-data');
    const env = { ONHAND_URL: 'https://hub.example.com/', ONHAND_DATA_DIR: dir };
    expect(await findHub('http://other:1/x/', env, '/')).toMatchObject({ url: 'http://other:1/x', from: '--url' });
    expect(await findHub(undefined, env, '/')).toMatchObject({ url: 'https://hub.example.com', from: 'ONHAND_URL' });
    expect(await findHub(undefined, { ONHAND_DATA_DIR: data }, '/')).toEqual({
      url: 'http://127.0.0.1:3000',
      from: 'default',
      dataDir: data,
    });
    await writeFile(path.join(dir, 'hub.json'), '{"url":"http://127.0.0.1:4711","pid":1}');
    expect(await findHub(undefined, { ONHAND_DATA_DIR: dir }, '/')).toMatchObject({
      url: 'http://127.0.0.1:4711',
      from: path.join(dir, 'hub.json'),
    });
    await writeFile(path.join(dir, 'hub.json'), '{"url":');
    expect(await findHub(undefined, { ONHAND_DATA_DIR: dir }, '/')).toMatchObject({ from: 'default' });
    expect(await findHub(undefined, {}, '/somewhere')).toMatchObject({ dataDir: path.resolve('/somewhere/.onhand') });
  });

  it('a key comes from a file, the environment, or with a warning from the command line', async () => {
    const file = path.join(dir, 'key');
    await writeFile(file, 'ohk_file\n');
    const warned: string[] = [];
    const warn = (sentence: string) => void warned.push(sentence);
    expect(await findKey({ keyFile: file }, { ONHAND_API_KEY: 'ohk_env' }, warn)).toBe('ohk_file');
    expect(await findKey({}, { ONHAND_API_KEY: ' ohk_env ' }, warn)).toBe('ohk_env');
    expect(warned).toEqual([]);
    expect(await findKey({ apiKey: 'ohk_clear' }, {}, warn)).toBe('ohk_clear');
    expect(warned).toHaveLength(1);
    await expect(findKey({}, { ONHAND_API_KEY: '' }, warn)).rejects.toMatchObject({ exitCode: 4 });
    await expect(findKey({}, { ONHAND_API_KEY: 'two words' }, warn)).rejects.toMatchObject({ exitCode: 2 });
  });
});

describe('words in and out', () => {
  it('a problem is a sentence with every field and the option that sets it', () => {
    const problem = {
      type: 'urn:onhand:problem:invalid-request',
      detail: '"quantity": must be 1 or more. 1 more thing is wrong, too.',
      fields: [
        { field: 'quantity', detail: 'must be 1 or more' },
        { field: 'occurredAt', detail: 'must be a time' },
      ],
    };
    expect(problemSentence(400, JSON.stringify(problem), 'http://hub')).toBe(
      '"quantity": must be 1 or more. 1 more thing is wrong, too.\n  --occurred-at (occurredAt): must be a time',
    );
    for (const text of ['<html>', '', 'null', '{}', '[]']) {
      expect(problemSentence(500, text, 'http://hub')).toContain('http://hub answered 500 without saying why');
    }
  });

  it('a preview says what was and what will be', () => {
    expect(previewLine({ what: 'MUG at main', before: 3, after: 8 })).toBe('MUG at main: 3 → 8');
    expect(previewLine({ what: 'MUG', before: 3, after: 3, note: 'until received' })).toBe(
      'MUG: 3, stays (until received)',
    );
    expect(previewLine({ what: 'MUG', before: null, after: 1 })).toBe('MUG: nothing → 1');
  });

  it('orders are one object, a list, or one a line; the place of a mistake is named', () => {
    expect(parseOrders('\uFEFF{"number":"1"}')).toEqual([{ number: '1' }]);
    expect(parseOrders('[{"number":"1"},{"number":"2"}]')).toHaveLength(2);
    expect(parseOrders('{"number":"1"}\r\n\n{"number":"2"}\n')).toHaveLength(2);
    expect(() => parseOrders(' ')).toThrow('There is no order in it');
    expect(() => parseOrders('{"number":"1"}\n{"number"')).toThrow('Line 2 is not JSON');
    expect(() => parseOrders('number,sku')).toThrow('The file is not JSON');
    expect(() => parseOrders('[{"number":"1"}, 5]')).toThrow('The 2. entry is not an order');
  });

  it('a secret comes from a pipe or a file, and keeps its spaces', async () => {
    const secretOf = (input: string, file?: string) => {
      const given = streams();
      given.stdin.end(input);
      return readSecret(openTerminal({ ...given, env: {} }), 'The secret', file);
    };
    expect(await secretOf(' p w \r\n')).toBe(' p w ');
    await expect(secretOf('\n')).rejects.toThrow('The secret is empty');
    await writeFile(path.join(dir, 'secret'), 'from file\n');
    expect(await secretOf('', path.join(dir, 'secret'))).toBe('from file');
    expect(await secretOf('from stdin', '-')).toBe('from stdin');
  });

  it('a secret typed at a terminal is not echoed, and the question before something dangerous wants a yes', async () => {
    const { stdin, stdout, stderr } = streams();
    const keyboard = Object.assign(stdin, { isTTY: true as const, setRawMode: () => stdin });
    const terminal = openTerminal({ stdin: keyboard, stdout, stderr, env: {} });
    const screen: string[] = [];
    stderr.on('data', (part: Buffer) => screen.push(part.toString()));
    const typed = readSecret(terminal, 'The secret', undefined);
    stdin.write('hax\u007fndle\r');
    expect(await typed).toBe('handle');
    expect(screen.join('')).toBe('The secret (not shown): \n');

    const answered = confirm(terminal, undefined, 'Really?');
    stdin.write('no\n');
    await expect(answered).rejects.toMatchObject({ exitCode: 1, message: 'Nothing was done.' });
    await expect(confirm(openTerminal({ ...streams(), env: {} }), undefined, 'Really?')).rejects.toMatchObject({
      exitCode: 2,
    });
    await expect(confirm(terminal, true, 'Really?')).resolves.toBeUndefined();
  });
});
