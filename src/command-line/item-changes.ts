import { InvalidArgumentError, type Command } from 'commander';
import { UsageError } from './exit-codes.js';
import { changes, examples, segment } from './options.js';
import { action, change, type ChangeOptions, type Preview, type Runtime } from './session.js';
import { showFacts, type Accepted, type Item } from './stock.js';

interface CreateOptions extends ChangeOptions {
  readonly barcode?: string;
  readonly shopifyId?: string;
  readonly tag?: TagChange[];
}

interface EditOptions extends CreateOptions {
  readonly title?: string;
  readonly removeBarcode?: boolean;
  readonly shopifyId?: string;
  readonly removeShopifyId?: boolean;
  readonly active?: boolean;
  readonly inactive?: boolean;
  readonly ifVersion?: string;
}

/** items create, items change. */
export function addItemChanges(items: Command, runtime: Runtime): void {
  examples(
    changes(
      items
        .command('create')
        .description('Create an item')
        .argument('<sku>')
        .argument('<title>')
        .option('--barcode <code>', 'its barcode')
        .option('--shopify-id <number>', 'its number at Shopify')
        .option('--tag <tag>', 'a tag; may be given several times', collectTag),
    ),
    'items create MUG "Mug, blue" --barcode 4006381333931 --tag kitchen',
  ).action(
    action<CreateOptions, [string, string]>(runtime, async (session, options, sku, title) => {
      const { add, remove } = tagsOf(options);
      if (remove.length > 0) throw new UsageError('A new item has no tag that could be taken away.');
      const { barcode, shopifyId } = options;
      const body = {
        sku,
        title,
        ...(barcode !== undefined && { barcode }),
        ...(shopifyId !== undefined && { shopifyProductId: shopifyId }),
        ...(add.length > 0 && { tags: add }),
      };
      const answer = await change<Accepted>(session, options, { method: 'POST', path: '/v1/items', body });
      if (answer !== null) session.answer(answer, (accepted) => showFacts(session, accepted));
    }),
  );
  examples(
    changes(
      items
        .command('change')
        .description('Change an item; what is not named stays as it is')
        .argument('<sku>')
        .option('--title <title>', 'its title')
        .option('--barcode <code>', 'its barcode')
        .option('--remove-barcode', 'it has no barcode any more')
        .option('--shopify-id <number>', 'its number at Shopify')
        .option('--remove-shopify-id', 'it has no number at Shopify any more')
        .option('--tag <change>', '+tag or tag: give it; -tag: take it away; may be given several times', collectTag)
        .option('--inactive', 'leave it out of lists; stock and orders go on as before')
        .option('--active', 'show it in lists again')
        .option('--if-version <version>', 'only if it is still at this version'),
    ),
    'items change MUG --title "Mug, dark blue" --tag +sale --tag -new',
    'items change MUG --inactive --dry-run',
  ).action(
    action<EditOptions, [string]>(runtime, async (session, options, sku) => {
      const body = editOf(options);
      const path = `/v1/items/${segment(sku)}`;
      const answer = await change<Accepted>(session, options, { method: 'PATCH', path, body }, async () => {
        const { body: item } = await session.hub.get<Item>(path);
        return previewOf(item, body);
      });
      if (answer !== null) session.answer(answer, (accepted) => showFacts(session, accepted));
    }),
  );
}

interface ItemEdit {
  readonly title?: string;
  readonly barcode?: string | null;
  readonly shopifyProductId?: string | null;
  readonly addTags?: readonly string[];
  readonly removeTags?: readonly string[];
  readonly active?: boolean;
  readonly expectedVersion?: string;
}

function editOf(options: EditOptions): ItemEdit {
  const { title, barcode, removeBarcode, shopifyId, removeShopifyId, active, inactive, ifVersion } = options;
  if (active === true && inactive === true) throw new UsageError('Name either --active or --inactive.');
  if (barcode !== undefined && removeBarcode === true)
    throw new UsageError('Name either --barcode or --remove-barcode.');
  if (shopifyId !== undefined && removeShopifyId === true)
    throw new UsageError('Name either --shopify-id or --remove-shopify-id.');
  const { add, remove } = tagsOf(options);
  const edit: ItemEdit = {
    ...(title !== undefined && { title }),
    ...(barcode !== undefined && { barcode }),
    ...(removeBarcode === true && { barcode: null }),
    ...(shopifyId !== undefined && { shopifyProductId: shopifyId }),
    ...(removeShopifyId === true && { shopifyProductId: null }),
    ...(add.length > 0 && { addTags: add }),
    ...(remove.length > 0 && { removeTags: remove }),
    ...((active === true || inactive === true) && { active: active === true }),
  };
  if (Object.keys(edit).length === 0)
    throw new UsageError('Name what to change: --title, --barcode, --shopify-id, --tag, --active or --inactive.');
  return { ...edit, ...(ifVersion !== undefined && { expectedVersion: ifVersion }) };
}

function previewOf(item: Item, edit: ItemEdit): Preview[] {
  const { title, barcode, shopifyProductId, addTags = [], removeTags = [], active } = edit;
  const taken = new Set(removeTags);
  const tags = [...new Set([...item.tags, ...addTags])].filter((tag) => !taken.has(tag)).sort();
  const stateOf = (isActive: boolean) => (isActive ? 'active' : 'inactive');
  return [
    ...(title === undefined ? [] : [{ what: 'Title', before: item.title, after: title }]),
    ...(barcode === undefined ? [] : [{ what: 'Barcode', before: item.barcode, after: barcode }]),
    ...(shopifyProductId === undefined
      ? []
      : [{ what: 'Shopify', before: item.shopifyProductId, after: shopifyProductId }]),
    ...(addTags.length + removeTags.length === 0
      ? []
      : [{ what: 'Tags', before: item.tags.join(' ') || null, after: tags.join(' ') || null }]),
    ...(active === undefined ? [] : [{ what: 'State', before: stateOf(item.active), after: stateOf(active) }]),
  ];
}

interface TagChange {
  readonly tag: string;
  readonly given: boolean;
}

function collectTag(text: string, before: TagChange[] = []): TagChange[] {
  const tag = text.replace(/^[+-]/, '').toLowerCase();
  if (tag === '') throw new InvalidArgumentError('Write +tag or -tag.');
  return [...before, { tag, given: !text.startsWith('-') }];
}

function tagsOf({ tag = [] }: CreateOptions): { readonly add: string[]; readonly remove: string[] } {
  const of = (given: boolean) => tag.filter((one) => one.given === given).map((one) => one.tag);
  return { add: of(true), remove: of(false) };
}
