/** docs/carts/matrix.md, made from what the connectors declare. Where a fact was tested is named, and has to exist. */
import type { Capabilities, Connector } from '../../src/cart-workers/connectors/connector.js';

/** A test by its file and a piece of its name. */
export interface Proof {
  readonly file: string;
  readonly test: string;
}

interface Fact {
  readonly what: string;
  readonly value: (connector: Connector) => string;
  /** The same for every type; the contract suite counts for a type only where it is run on it. */
  readonly proof: Proof;
}

const contract = 'test/contract/connector-contract.ts';
const lanes = (theme: string, test: string): Proof => ({ file: `test/lanes/lane-suite-${theme}.ts`, test });
const of =
  <Name extends keyof Capabilities>(name: Name, say: (value: Capabilities[Name]) => string): Fact['value'] =>
  ({ capabilities }) =>
    say(capabilities[name]);
const yesNo = (value: boolean | undefined) => (value === true ? 'yes' : 'no');

const ways: Record<Capabilities['delivery'], string> = {
  'idempotency-key': 'by key: sent again under the same key after a lost answer',
  'compare-and-set': 'compared first: refused where the quantity is another one',
  settlement: 'by looking: after a lost answer readings and orders decide',
  'set-only': 'absolute numbers: read, set, read back',
};

export const facts: readonly Fact[] = [
  {
    what: 'Real-time inventory',
    value: ({ deliveryWays }) => (deliveryWays.length > 0 ? 'yes' : 'no'),
    proof: lanes('dispatch', 'tells both shops of a receipt, as a delta'),
  },
  {
    what: 'How a change takes effect once',
    value: of('delivery', (way) => ways[way]),
    proof: { file: contract, test: 'a call without a believable answer' },
  },
  {
    what: 'May be served as',
    value: ({ deliveryWays }) => deliveryWays.join(', '),
    proof: lanes('delivery-ways', 'a cart that can only be set'),
  },
  {
    what: 'Probed before it is switched on',
    value: ({ probe }) => yesNo(probe !== undefined),
    proof: { file: 'test/lanes/cart-probe.int.spec.ts', test: 'lets the cart be switched on' },
  },
  {
    what: 'Changes per call',
    value: of('linesPerDeliveryMax', String),
    proof: { file: contract, test: 'a change that is answered' },
  },
  {
    what: 'Absolute numbers per call',
    value: of('rowsPerSetMax', (rows) => (rows === 0 ? 'none' : String(rows))),
    proof: { file: contract, test: 'are set line by line, unknown ones told apart' },
  },
  {
    what: 'Calls at once',
    value: of('parallelCallsMax', String),
    proof: lanes('dispatch', 'a second open call to a serial cart'),
  },
  {
    what: 'Remembers an idempotency key',
    value: of('keyLifeMs', (ms) => (ms === null ? 'no' : `${ms / 3_600_000} h`)),
    proof: lanes('refusals', 'never sends a key again that the cart may have forgotten'),
  },
  {
    what: 'Longest execution (quiet time)',
    value: of('quietTimeMs', (ms) => `${ms / 1_000} s, can be set`),
    proof: lanes('settlement', 'looks no sooner than the deadline and the quiet time'),
  },
  {
    what: 'Reply tells the new quantity',
    value: of('replyTellsQuantity', yesNo),
    proof: { file: contract, test: 'is applied and tells the new quantity' },
  },
  {
    what: 'Stops at zero',
    value: of('clampsAtZero', (clamps) => (clamps ? 'yes' : 'no, can be set or found')),
    proof: { file: 'test/lanes/cart-probe.int.spec.ts', test: 'that clamps at zero' },
  },
  {
    what: 'Hides what is sold out, where a rule says so',
    value: ({ capabilities: { flags } }) => yesNo(flags?.includes('hide')),
    proof: { file: 'test/lanes/flags.int.spec.ts', test: 'is hidden at zero' },
  },
  {
    what: 'Takes back-orders, where a rule says so',
    value: ({ capabilities: { flags } }) => yesNo(flags?.includes('backorder')),
    proof: { file: 'test/lanes/flags.int.spec.ts', test: 'takes back-orders' },
  },
  {
    what: 'Tells what it shows',
    value: of('canRead', yesNo),
    proof: { file: contract, test: 'tells named items only as they are, and leaves out unknown ones' },
  },
  {
    what: 'Keys with a tilde',
    value: of('tildeInKeys', (known) => (known === false ? 'only where a probe saw them understood' : 'yes')),
    proof: { file: contract, test: 'reaches the item' },
  },
  {
    what: 'How changes are written',
    value: ({ type }) =>
      type === 'seti' ? 'pairs, or XML documents where a probe saw only those understood' : 'JSON, signed',
    proof: { file: 'test/lanes/cart-probe.int.spec.ts', test: 'that takes documents only is sent documents' },
  },
  {
    what: 'Two items of one key',
    value: () => 'told by comparison; nothing is sent for them',
    proof: { file: 'test/lanes/doubled-skus.int.spec.ts', test: 'a SKU of two products on different pages' },
  },
  {
    what: 'Orders',
    value: of('orders', (way) => ({ poll: 'asked for', webhook: 'sent by the cart, and asked for', none: 'no' })[way]),
    proof: { file: contract, test: 'come oldest first, page by page, each once, and then no more' },
  },
  {
    what: 'Takes the pieces of an order at',
    value: of('stockMovesAt', String),
    proof: lanes('orders', 'tells the other shop of a sale, and not the one that sold'),
  },
  {
    what: 'Puts them back on a cancel',
    value: of('restocksOnCancel', yesNo),
    proof: lanes('orders', 'does not send the pieces of a cancelled order to the shop that restocked them'),
  },
];

/** @param underContract types that the contract suite is run on */
export function cartMatrix(connectors: readonly Connector[], underContract: ReadonlySet<string>): string {
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const tested = ({ proof }: Fact) => `\`${proof.file}\`: ${proof.test.replaceAll('|', '')}`;
  return [
    '# Shopping cart matrix',
    '',
    'What each type of cart can do, and where that was tested. Made from what the connectors declare; a test fails where this',
    'page is older than they are (`npx vitest run test/docs/cart-matrix.spec.ts -u` makes it anew). One cart may do less: see',
    '[its probe](seti.md#the-conformance-probe), and `onhand carts show CART`.',
    '',
    row(['', ...connectors.map(({ label, type }) => `${label} (\`${type}\`)`), 'tested in']),
    row(['---', ...connectors.map(() => '---'), '---']),
    ...facts.map((fact) => row([fact.what, ...connectors.map((connector) => fact.value(connector)), tested(fact)])),
    row([
      'The contract of connectors is run on it',
      ...connectors.map(({ type }) => yesNo(underContract.has(type))),
      `\`${contract}\``,
    ]),
    '',
  ].join('\n');
}
