import type { Kind } from './refusals.js';

export const cyclic: Record<string, unknown> = {};
cyclic['self'] = cyclic;

/** Values that a WebSocket cannot send. */
export const notMessages: readonly [title: string, value: unknown, received: string][] = [
  ['a number', 5, 'got `5` (number)'],
  ['a boolean', true, 'got `true` (boolean)'],
  ['undefined', undefined, 'got `undefined` (undefined)'],
  ['null', null, 'got `null` (null)'],
  ['an object', { a: 1 }, 'got `Object` (object)'],
  ['an array', ['a'], 'got `Array` (object)'],
  ['a function without a name', () => undefined, 'got `anonymous` (function)'],
  ['a symbol', Symbol('s'), 'got `Symbol(s)` (symbol)'],
  ['a BigInt', 10n, 'got `10` (bigint)'],
  ['an object that claims to be bytes', { byteLength: 3, buffer: {} }, 'got `Object` (object)'],
];

/** Values that JSON cannot express. */
export const notJson: readonly [title: string, value: unknown, received: string][] = [
  ['undefined', undefined, 'got `undefined` (undefined)'],
  ['a function', function named() {}, 'got `named` (function)'],
  ['a symbol', Symbol('s'), 'got `Symbol(s)` (symbol)'],
  ['a BigInt', 10n, 'got `10` (bigint)'],
  ['a BigInt inside', { a: [1n] }, 'got `Object` (object)'],
  ['a cycle', cyclic, 'got `Object` (object)'],
];

/** Close arguments that cannot be sent. */
export const notClosing: readonly [
  title: string,
  args: readonly unknown[],
  Kind,
  expected: string,
  received: string,
][] = [
  ['a code in a string', ['1000'], TypeError, 'close code', 'got `1000` (string)'],
  ['a code of null', [null], TypeError, 'close code', 'got `null` (null)'],
  ['a code of NaN', [NaN], RangeError, 'close code', 'got `NaN` (number)'],
  ['a negative code', [-1], RangeError, '1000-1003', 'got `-1` (number)'],
  ['code 1005', [1005], RangeError, '1000-1003', 'got `1005` (number)'],
  ['code 65536', [65_536], RangeError, '3000-4999', 'got `65536` (number)'],
  ['a reason of null', [1000, null], TypeError, 'close reason', 'got `null` (null)'],
  ['a reason of a number', [1000, 5], TypeError, 'close reason', 'got `5` (number)'],
  ['a reason in bytes', [1000, Buffer.from('x')], TypeError, 'close reason', '(object)'],
  ['a reason of 1 MB', [4000, 'x'.repeat(2 ** 20)], RangeError, '123 bytes', 'got 1048576 bytes'],
  ['42 lone surrogates (126 bytes)', [4000, '\ud800'.repeat(42)], RangeError, '123 bytes', 'got 126 bytes'],
];

export const notNamespaces: readonly [title: string, value: unknown, received: string][] = [
  ['undefined', undefined, 'got `undefined` (undefined)'],
  ['null', null, 'got `null` (null)'],
  ['a number', 5, 'got `5` (number)'],
  ['an object', {}, 'got `Object` (object)'],
  ['a String object', Object('default') as unknown, 'got `String` (object)'],
];

export const notIds: readonly [title: string, value: unknown, received: string][] = [
  ['undefined', undefined, 'got `undefined` (undefined)'],
  ['null', null, 'got `null` (null)'],
  ['NaN', NaN, 'got `NaN` (number)'],
  ['an object', {}, 'got `Object` (object)'],
  ['an array', ['first'], 'got `Array` (object)'],
  ['a symbol', Symbol('s'), 'got `Symbol(s)` (symbol)'],
];

export const notIterables: readonly [title: string, value: unknown, received: string][] = [
  // Iterated, it would yield characters: nobody would be excepted, and nobody would notice.
  ['a string', 'first', 'got `first` (string)'],
  ['null', null, 'got `null` (null)'],
  ['a number', 5, 'got `5` (number)'],
];
