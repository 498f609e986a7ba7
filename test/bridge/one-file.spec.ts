import { readFileSync } from 'node:fs';
import { Engine } from 'php-parser';
import { describe, expect, it } from 'vitest';
import { builtBridges } from '../../bridge/build.mjs';

/** PHP's own functions that came after 5.6: a merchant's server may not have them, unless the bridge asks whether it does. */
const NEW_FUNCTIONS = new Set(
  (
    'intdiv random_bytes random_int error_clear_last preg_replace_callback_array is_iterable is_countable hrtime array_key_first ' +
    'array_key_last array_is_list array_find array_any array_all str_contains str_starts_with str_ends_with fdiv get_debug_type ' +
    'get_resource_id fsync fdatasync mb_chr mb_ord mb_scrub mb_str_split mb_str_pad mb_trim json_validate password_algos ' +
    'mysqli_execute_query sapi_windows_vt100_support stream_isatty spl_object_id hash_hkdf hash_hmac_algos'
  ).split(' '),
);
/** Gone, or on their way out, by 8.4. */
const OLD_FUNCTIONS = new Set(
  'each create_function mysql_query mysql_connect ereg eregi split get_magic_quotes_gpc utf8_encode utf8_decode strftime money_format mhash lcg_value'.split(
    ' ',
  ),
);
/** A class's name is a type in 5.6 already; these are not. */
const NEW_TYPES = new Set(
  'int integer string bool boolean float iterable object mixed void null false true never'.split(' '),
);

interface Node {
  readonly kind: string;
  readonly [field: string]: unknown;
}

const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && typeof (value as Node).kind === 'string';

function nodesOf(node: Node): Node[] {
  const children = Object.values(node).flatMap((value) => (Array.isArray(value) ? (value as unknown[]) : [value]));
  return [node, ...children.filter(isNode).flatMap(nodesOf)];
}

const nameOf = (node: unknown) => (isNode(node) ? String(node['name']).toLowerCase() : '');

/** As a PHP of that version reads it; @throws where it does not */
const parsed = (text: string, version: string) =>
  nodesOf(new Engine({ parser: { version, suppressErrors: false } }).parseCode(text, 'bridge.php') as unknown as Node);

/** What a PHP 5.6 does not know, or an 8.4 no more. @returns sentences, none where all is well */
function unfit(text: string): string[] {
  const found: string[] = [];
  for (const version of ['5.6', '7.0', '8.1', '8.4']) {
    try {
      parsed(text, version);
    } catch (error) {
      found.push(`PHP ${version}: ${(error as Error).message}`);
    }
  }
  if (found.length > 0) return found;
  const nodes = parsed(text, '8.4');
  const own = new Set(nodes.filter(({ kind }) => kind === 'function').map(({ name }) => nameOf(name)));
  const guarded = new Set([...text.matchAll(/function_exists\('(\w+)'\)/g)].map(([, name]) => name));
  for (const node of nodes) {
    const type = nameOf(node['type']);
    const isCode = ['function', 'method', 'closure', 'arrowfunc'].includes(node.kind);
    if (isCode && isNode(node['type'])) found.push(`a return type: ${type}`);
    if (node.kind === 'parameter' && (NEW_TYPES.has(type) || node['nullable'] === true)) found.push(`a type: ${type}`);
    if (node.kind === 'parameter' && Number(node['flags'] ?? 0) !== 0) found.push('a promoted parameter');
    if (['uniontype', 'intersectiontype', 'attribute'].includes(node.kind)) found.push(node.kind);
    if (node.kind === 'catch' && (node['what'] as unknown[]).length > 1) found.push('several classes in one catch');
    if (node.kind === 'catch' && !isNode(node['variable'])) found.push('a catch without a variable');
    if (node.kind === 'new' && isNode(node['what']) && node['what'].kind === 'class')
      found.push('a class without a name');
    if (node.kind === 'classconstant' && typeof node['visibility'] === 'string' && node['visibility'] !== '')
      found.push('a private constant');
    if (node.kind === 'number' && /_|0o/i.test(String(node['raw'] ?? node['value'])))
      found.push('a number with signs in it');
    if (node.kind === 'call') {
      const called = nameOf(node['what']);
      if (own.has(called) || guarded.has(called)) continue;
      if (NEW_FUNCTIONS.has(called) || OLD_FUNCTIONS.has(called)) found.push(`the function ${called}`);
    }
  }
  return found;
}

describe.each(Object.entries(builtBridges()))('%s', (file, text) => {
  const stands = readFileSync(new URL(`../../bridge/${file}`, import.meta.url), 'utf8');

  it('is what its parts make: run `node bridge/build.mjs`', () => expect(stands).toBe(text));

  it('is read by PHP 5.6 to 8.4, and uses nothing that one of them does not have', () =>
    expect(unfit(text)).toEqual([]));

  it('is one file with its settings in one block before anything else', () => {
    expect(text.match(/<\?php/g)).toHaveLength(1);
    expect(text.indexOf('$onhand_settings = array(')).toBeLessThan(text.indexOf('function '));
    expect(text).not.toMatch(/whsec_[A-Za-z0-9+/]{8}/);
  });
});

it.each([
  '$a ?? 1',
  '$a <=> $b',
  '$a?->b',
  '$a ??= 1',
  'fn($x) => $x',
  'match ($a) { 1 => 2 }',
  'function f(int $a) {}',
  'function f(?X $a) {}',
  'function f(A|B $a) {}',
  'function f(): int {}',
  'class A { private int $x; }',
  'class A { function f(): void {} }',
  'class A { function __construct(private $x) {} }',
  'class A { private const X = 1; }',
  'try {} catch (A | B $e) {}',
  'try {} catch (A $e) { throw $e; } catch (B) {}',
  '$a = new class {}',
  '$a = [...$b]',
  '#[A] function f() {}',
  'f(a: 1)',
  'f(1, 2,)',
  'random_int(1, 2)',
  'str_contains($a, $b)',
  'each($a)',
])('a bridge that said %s would not do for every PHP', (code) => expect(unfit(`<?php ${code};`)).not.toEqual([]));
