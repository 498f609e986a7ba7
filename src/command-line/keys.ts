import type { Command } from 'commander';
import { formatTime, parseTime } from './format.js';
import { changes, choice, dangerous, examples, segment } from './options.js';
import { confirm } from './prompt.js';
import { action, change, refuse, type ChangeOptions, type Runtime, type Session } from './session.js';

interface ApiKey {
  readonly id: string;
  readonly name: string;
  readonly prefix: string;
  readonly scope: string;
  readonly createdAt: string;
  readonly expiresAt: string | null;
  readonly lastUsedAt: string | null;
  readonly revokedAt: string | null;
}

export function addKeyCommands(program: Command, runtime: Runtime): void {
  const keys = program.command('keys').description('API keys: list, create, revoke');
  examples(keys, 'keys list', 'keys create "the till" --scope operate');
  examples(keys.command('list').description('Every key, without its secret part'), 'keys list').action(
    action(runtime, async (session) => {
      session.answer(await session.hub.get<{ data: ApiKey[] }>('/v1/api-keys'), ({ data }) =>
        session.terminal.table(
          [
            { title: 'ID', of: (row) => row.id },
            { title: 'NAME', of: (row) => row.name },
            { title: 'BEGINS', of: (row) => row.prefix },
            { title: 'SCOPE', of: (row) => row.scope },
            { title: 'LAST USED', of: (row) => formatTime(row.lastUsedAt) },
            { title: 'EXPIRES', of: (row) => formatTime(row.expiresAt) },
            { title: 'REVOKED', of: (row) => formatTime(row.revokedAt) },
          ],
          data,
          'No key.',
        ),
      );
    }),
  );
  examples(
    changes(
      keys
        .command('create')
        .description('Make a key. It is printed this once; redirect it into a file that only you may read')
        .argument('<name>', 'who or what will use it')
        .addOption(
          choice(
            '--scope <scope>',
            'read: look. operate: also change stock, orders, lanes. admin: everything',
            ['read', 'operate', 'admin'],
            'read',
          ),
        )
        .option('--expires-at <time>', 'left out: never'),
    ),
    'keys create "the till" --scope operate --expires-at 2027-01-01 > till.key',
  ).action(
    action<ChangeOptions & { scope: string; expiresAt?: string }, [string]>(runtime, async (session, options, name) => {
      const { scope, expiresAt } = options;
      const body = { name, scope, ...(expiresAt !== undefined && { expiresAt: parseTime(expiresAt, '--expires-at') }) };
      const request = { method: 'POST', path: '/v1/api-keys', body, repeatable: false } as const;
      const answer = await change<ApiKey & { key: string }>(session, options, request);
      if (answer === null) return;
      session.answer(answer, (made) => {
        session.terminal.note(`Key ${made.id}, scope ${made.scope}. It is shown this once:`);
        session.terminal.out(made.key);
      });
    }),
  );
  addRevoke(keys, runtime);
}

function addRevoke(keys: Command, runtime: Runtime): void {
  examples(
    dangerous(
      keys
        .command('revoke')
        .description('End a key, in every process at once')
        .argument('<key>', 'its id, or how it begins (ohk_…)')
        .option('--force', 'even the last admin key; the hub makes another at its next start'),
    ),
    'keys revoke ohk_1a2b3c4d',
  ).action(
    action<ChangeOptions & { yes?: boolean; force?: boolean }, [string]>(runtime, async (session, options, which) => {
      const key = await findOne(session, which);
      if (options.dryRun !== true) {
        await confirm(
          session.terminal,
          options.yes,
          `Revoke the key "${key.name}" (${key.prefix}…, ${key.scope})? Whoever uses it is locked out.`,
        );
      }
      const force = options.force === true ? '?force=true' : '';
      const request = { method: 'DELETE', path: `/v1/api-keys/${segment(key.id)}${force}` } as const;
      const answer = await change(session, options, request, async () => [
        {
          what: `Key "${key.name}" (${key.prefix}…)`,
          before: key.revokedAt === null ? 'valid' : 'revoked',
          after: 'revoked',
        },
      ]);
      if (answer !== null) session.answer(answer, () => session.terminal.out(`The key "${key.name}" is revoked.`));
    }),
  );
}

async function findOne(session: Session, which: string): Promise<ApiKey> {
  const { body } = await session.hub.get<{ data: ApiKey[] }>('/v1/api-keys');
  const found = body.data.filter(
    ({ id, prefix }) => id === which || (which.length >= 8 && which.startsWith(prefix)) || prefix === which,
  );
  const [key] = found;
  if (key === undefined) refuse(`There is no key "${which}"; \`onhand keys list\` shows them.`);
  if (found.length > 1) refuse(`Several keys begin with "${which}"; name one by its id.`);
  return key;
}
