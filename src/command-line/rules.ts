import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { RuleEffect, RuleScope } from '../events/rule.js';
import type { RefusedFlags } from '../modules/rules/refused-flags.js';
import type { RuleReads } from '../modules/rules/rule-reads.js';
import type { DryRun } from '../projections/availability/dry-run.js';
import { UsageError } from './exit-codes.js';
import { formatNumber, formatTime } from './format.js';
import { changes, examples, moreHint, pageQuery, pages, segment, type PageOptions } from './options.js';
import { action, change, type ChangeOptions, type Runtime, type Session } from './session.js';

type RulePage = Awaited<ReturnType<RuleReads['list']>>;
type Shown = RulePage['data'][number];
interface OneRule {
  readonly rule: Shown | null;
  readonly versions: Awaited<ReturnType<RuleReads['versions']>>;
}
interface Saved {
  readonly rule: Shown | null;
  readonly warnings?: readonly string[];
}
type RunPage = Awaited<ReturnType<RuleReads['runs']>>;
type FlagPage = Awaited<ReturnType<RefusedFlags['list']>>;

/** rules: what carts show. */
export function addRuleCommands(program: Command, runtime: Runtime): void {
  const rules = program.command('rules').description('What carts show: list, save, try, remove and undo rules');
  examples(
    rules,
    'rules',
    'rules save few --name "Not the last five" --floor 5',
    'rules save sale-cap --name "Sale" --tag sale --cap 20 --try',
    'rules undo few',
  );
  examples(pages(rules.command('list', { isDefault: true }).description('Every rule')), 'rules list').action(
    action<PageOptions>(runtime, async (session, options) => {
      const answer = await session.hub.get<RulePage>('/v1/rules', pageQuery(options));
      session.answer(answer, (page) => showRules(session, page));
    }),
  );
  examples(rules.command('show').description('One rule and its versions').argument('<id>'), 'rules show few').action(
    action<object, [string]>(runtime, async (session, _options, id) => {
      const answer = await session.hub.get<OneRule>(`/v1/rules/${segment(id)}`);
      session.answer(answer, (one) => showVersions(session, one));
    }),
  );
  addSave(rules, runtime);
  addEnds(rules, runtime);
  examples(
    pages(rules.command('runs').description('Changes of rules, days and locations, and how far their listings are')),
    'rules runs',
  ).action(
    action<PageOptions>(runtime, async (session, options) => {
      const answer = await session.hub.get<RunPage>('/v1/recompute-runs', pageQuery(options));
      session.answer(answer, (page) => showRuns(session, page));
    }),
  );
  examples(
    pages(rules.command('refused').description('Items that carts refuse to hide, show or open to back-orders')).option(
      '--cart <cart>',
      'only of this cart',
    ),
    'rules refused',
    'rules refused --cart main-shop',
  ).action(
    action<PageOptions & { cart?: string }>(runtime, async (session, options) => {
      const query = { ...pageQuery(options), ...(options.cart !== undefined && { cart: options.cart }) };
      const answer = await session.hub.get<FlagPage>('/v1/refused-flags', query);
      session.answer(answer, (page) => showRefused(session, page));
    }),
  );
}

interface SaveOptions extends ChangeOptions {
  readonly try?: boolean;
  readonly name?: string;
  readonly sku?: string;
  readonly tag?: string;
  readonly cart?: string;
  readonly location?: string[];
  readonly order: string;
  readonly file?: string;
  readonly cap?: string;
  readonly buffer?: string;
  readonly share?: string;
  readonly floor?: string;
  readonly margin?: string;
  readonly velocity?: string;
  readonly unconfirmed?: string;
  readonly atZero?: string;
}

function addSave(rules: Command, runtime: Runtime): void {
  examples(
    changes(
      rules
        .command('save')
        .description('Save a rule under its id; one kind of effect each')
        .argument('<id>')
        .option('--name <text>', 'what it is for')
        .option('--sku <sku>', 'only this item')
        .option('--tag <tag>', 'only items with this tag')
        .option('--cart <cart>', 'only this cart')
        .option('--location <location...>', 'only the stock at these locations')
        .option('--order <number>', 'among equally specific rules the lowest comes first', '0')
        .option('--cap <units>', 'at most so many')
        .option('--buffer <units|percent%>', 'keep so many back, or such a share')
        .option('--share <percent>', 'publish such a share of each location')
        .option('--floor <units>', 'nothing while the chain has fewer')
        .option(
          '--velocity <days>',
          'keep back what is sold in so many days; "latency": while the slowest cart does not know',
        )
        .option('--margin <units>', 'of --floor and --velocity: comes back only so many above')
        .option('--unconfirmed <units>/<days>', 'not the last ones that nobody saw for so long')
        .option('--at-zero <policy>', 'hide, keep-selling, backorder or show-zero')
        .option('--file <file>', 'the whole rule as JSON, as GET /v1/rules shows it')
        .option('--try', 'only show what it would change'),
    ),
    'rules save few --name "Not the last five" --floor 5 --margin 2',
    'rules save hide --name "Off the site at zero" --at-zero hide',
    'rules save doubt --name "Seen lately only" --unconfirmed 2/60',
  ).action(
    action<SaveOptions, [string]>(runtime, async (session, options, id) => {
      const body = options.file === undefined ? ruleFrom(options) : await ruleFile(options.file);
      if (options.try === true) return tryOut(session, { save: [{ id, ...body }] });
      const answer = await change<Saved>(session, options, { method: 'PUT', path: `/v1/rules/${segment(id)}`, body });
      if (answer === null) return;
      session.answer(answer, ({ warnings = [] }) => {
        session.terminal.out(`${id} is saved. Its listings follow now: onhand rules runs`);
        for (const warning of warnings) session.terminal.note(warning);
      });
    }),
  );
}

function addEnds(rules: Command, runtime: Runtime): void {
  examples(
    changes(
      rules
        .command('remove')
        .description('Remove a rule; undo brings it back')
        .argument('<id>')
        .option('--try', 'only show what it would change'),
    ),
    'rules remove few --try',
  ).action(
    action<ChangeOptions & { try?: boolean }, [string]>(runtime, async (session, options, id) => {
      if (options.try === true) return tryOut(session, { remove: [id] });
      const answer = await change<Saved>(session, options, { method: 'DELETE', path: `/v1/rules/${segment(id)}` });
      if (answer !== null) session.answer(answer, () => session.terminal.out(`${id} is removed.`));
    }),
  );
  examples(
    changes(
      rules
        .command('undo')
        .description('Make a rule what it was before its last change')
        .argument('<id>')
        .option('--to <version>', 'what it was in that version (onhand rules show)'),
    ),
    'rules undo few',
    'rules undo few --to 3',
  ).action(
    action<ChangeOptions & { to?: string }, [string]>(runtime, async (session, options, id) => {
      const body = options.to === undefined ? {} : { to: options.to };
      const path = `/v1/rules/${segment(id)}/undo`;
      const answer = await change<Saved>(session, options, { method: 'POST', path, body });
      if (answer === null) return;
      session.answer(answer, ({ rule }) =>
        session.terminal.out(
          rule === null ? `${id} is gone again.` : `${id} is as it was: ${effectInWords(rule.effect)}.`,
        ),
      );
    }),
  );
}

async function tryOut(session: Session, body: object): Promise<void> {
  const answer = await session.hub.send<DryRun>({ method: 'POST', path: '/v1/rules/dry-run', body });
  session.answer(answer, (run) => showDryRun(session, run));
}

/** Checked as far as the command line alone can tell; the hub names whatever else is wrong. */
function ruleFrom(options: SaveOptions): object {
  const effects = [
    options.cap === undefined ? null : { kind: 'cap', units: whole(options.cap, '--cap') },
    options.buffer === undefined ? null : bufferOf(options.buffer),
    options.share === undefined ? null : { kind: 'share', percent: numberOf(options.share, '--share') },
    options.floor === undefined
      ? null
      : { kind: 'floor', below: whole(options.floor, '--floor'), ...marginOf(options) },
    options.velocity === undefined ? null : { ...velocityOf(options.velocity), ...marginOf(options) },
    options.unconfirmed === undefined ? null : unconfirmedOf(options.unconfirmed),
    options.atZero === undefined ? null : { kind: 'at-zero', policy: options.atZero },
  ].filter((effect) => effect !== null);
  if (effects.length !== 1)
    throw new UsageError(
      'Give one of --cap, --buffer, --share, --floor, --velocity, --unconfirmed, --at-zero, or --file. A rule has one effect.',
    );
  if (options.name === undefined) throw new UsageError('--name says what the rule is for.');
  const { sku = null, tag = null, cart = null, location: locations = null } = options;
  return {
    name: options.name,
    scope: { sku, tag, cart, locations },
    order: whole(options.order, '--order'),
    effect: effects[0],
  };
}

function bufferOf(text: string): object {
  return text.endsWith('%')
    ? { kind: 'buffer', percent: numberOf(text.slice(0, -1), '--buffer') }
    : { kind: 'buffer', units: whole(text, '--buffer') };
}

const velocityOf = (text: string) => ({
  kind: 'velocity-buffer',
  coverDays: text === 'latency' ? null : numberOf(text, '--velocity'),
});

function unconfirmedOf(text: string): object {
  const match = /^(\d{1,9})\/(\d{1,4})$/.exec(text);
  if (match === null) throw new UsageError(`--unconfirmed must look like 2/60 (units/days), not ${text}.`);
  return { kind: 'unconfirmed', atMost: Number(match[1]), days: Number(match[2]) };
}

const marginOf = ({ margin }: SaveOptions) => (margin === undefined ? {} : { margin: whole(margin, '--margin') });

function whole(text: string, option: string): number {
  if (!/^-?\d{1,15}$/.test(text)) throw new UsageError(`${option} must be a whole number, not ${text}.`);
  return Number(text);
}

function numberOf(text: string, option: string): number {
  if (!/^\d{1,9}(\.\d{1,9})?$/.test(text)) throw new UsageError(`${option} must be a number, not ${text}.`);
  return Number(text);
}

async function ruleFile(file: string): Promise<object> {
  const text = await readFile(file, 'utf8').catch(() => {
    throw new UsageError(`The file ${file} cannot be read.`);
  });
  try {
    const rule = JSON.parse(text) as Record<string, unknown>;
    const { name, scope, order, effect } = rule;
    return { name, scope, order, effect };
  } catch {
    throw new UsageError(`The file ${file} is not JSON.`);
  }
}

function showRules(session: Session, page: RulePage): void {
  session.terminal.table(
    [
      { title: 'ID', of: (rule) => rule.id },
      { title: 'WHERE', of: (rule) => scopeInWords(rule.scope) },
      { title: 'ORDER', of: (rule) => String(rule.order), right: true },
      { title: 'SAYS', of: (rule) => effectInWords(rule.effect) },
      { title: 'BY', of: (rule) => rule.savedBy },
      { title: 'AT', of: (rule) => formatTime(rule.savedAt) },
      { title: 'NAME', of: (rule) => rule.name },
    ],
    page.data,
    'No rule: carts show what is on hand.',
  );
  moreHint(session, page.nextCursor);
}

function showVersions(session: Session, { rule, versions }: OneRule): void {
  session.terminal.out(rule === null ? 'It was removed.' : `${rule.name}: ${effectInWords(rule.effect)}`);
  session.terminal.table(
    [
      { title: 'VERSION', of: (one) => one.version, right: true },
      { title: 'AT', of: (one) => formatTime(one.at) },
      { title: 'BY', of: (one) => one.by },
      { title: 'WHERE', of: (one) => (one.rule === null ? null : scopeInWords(one.rule.scope)) },
      { title: 'SAYS', of: (one) => (one.rule === null ? 'removed' : effectInWords(one.rule.effect)) },
    ],
    versions,
    'No version.',
  );
}

function showDryRun(session: Session, { carts, changes: told }: DryRun): void {
  session.terminal.table(
    [
      { title: 'CART', of: (cart) => cart.cartId },
      { title: 'LISTINGS', of: (cart) => formatNumber(cart.listings), right: true },
      { title: 'CHANGED', of: (cart) => formatNumber(cart.changed), right: true },
      { title: 'RAISED', of: (cart) => formatNumber(cart.raised), right: true },
      { title: 'LOWERED', of: (cart) => formatNumber(cart.lowered), right: true },
      { title: 'TO ZERO', of: (cart) => formatNumber(cart.toZero), right: true },
      { title: 'PIECES', of: (cart) => formatNumber(cart.pieces), right: true },
    ],
    carts,
    'No cart lists anything that this concerns.',
  );
  if (told.length === 0) return;
  session.terminal.table(
    [
      { title: 'CART', of: (one) => one.cartId },
      { title: 'KEY', of: (one) => one.key },
      { title: 'FROM', of: (one) => formatNumber(one.from), right: true },
      { title: 'TO', of: (one) => formatNumber(one.to), right: true },
      { title: 'FLAG', of: (one) => (one.flagFrom === one.flagTo ? null : (one.flagTo ?? 'left alone')) },
    ],
    told,
    '',
  );
  session.terminal.note('Nothing was changed.');
}

function showRuns(session: Session, page: RunPage): void {
  session.terminal.table(
    [
      { title: 'BEGUN', of: (run) => formatTime(run.createdAt) },
      { title: 'CAUSE', of: (run) => `${run.cause.type} ${run.cause.version}` },
      { title: 'STATE', of: (run) => run.state },
      { title: 'DONE', of: (run) => formatNumber(run.progress.done), right: true },
      {
        title: 'OF',
        of: (run) => (run.progress.total === null ? null : formatNumber(run.progress.total)),
        right: true,
      },
      { title: 'RECORDS', of: (run) => formatNumber(run.records), right: true },
    ],
    page.data,
    'No run.',
  );
  moreHint(session, page.nextCursor);
}

function showRefused(session: Session, page: FlagPage): void {
  session.terminal.table(
    [
      { title: 'CART', of: (one) => one.cartId },
      { title: 'KEY', of: (one) => one.key },
      { title: 'SKU', of: (one) => one.sku },
      { title: 'ASKED FOR', of: (one) => one.flag },
      { title: 'TRIES', of: (one) => formatNumber(one.attempts), right: true },
      { title: 'NEXT', of: (one) => formatTime(one.nextTryAt) },
      { title: 'ANSWER', of: (one) => one.lastResponse },
    ],
    page.data,
    'No cart refuses anything that rules ask for.',
  );
  moreHint(session, page.nextCursor);
}

function scopeInWords({ sku, tag, locations, cart }: RuleScope): string {
  const parts = [
    sku === null ? null : `item ${sku}`,
    tag === null ? null : `tag ${tag}`,
    locations === null ? null : `at ${locations.join(', ')}`,
    cart === null ? null : `cart ${cart}`,
  ].filter((part) => part !== null);
  return parts.length === 0 ? 'everything' : parts.join(', ');
}

export function effectInWords(effect: RuleEffect): string {
  switch (effect.kind) {
    case 'at-zero':
      return `at zero: ${effect.policy}`;
    case 'cap':
      return `at most ${effect.units}`;
    case 'buffer':
      return effect.units === null ? `keep ${effect.percent} % back` : `keep ${effect.units} back`;
    case 'share':
      return `${effect.percent} % of it`;
    case 'floor':
      return `nothing below ${effect.below}${effect.steps.length > 0 ? `, ${effect.steps.length} steps` : ''}${effect.daysOfSales === null ? '' : `, or ${effect.daysOfSales} days of sales`}`;
    case 'velocity-buffer':
      return `keep ${effect.coverDays === null ? 'sales of the slowest cart’s latency' : `${effect.coverDays} days of sales`} back`;
    case 'unconfirmed':
      return `not the last ${effect.atMost} unseen for ${effect.days} days`;
    default:
      return effect satisfies never;
  }
}
