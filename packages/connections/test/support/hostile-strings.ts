/** Strings that have broken registries made of plain objects, terminals and URL parsers. */
export const hostileStrings: readonly [title: string, text: string][] = [
  ['__proto__', '__proto__'],
  ['constructor', 'constructor'],
  ['hasOwnProperty', 'hasOwnProperty'],
  ['toString', 'toString'],
  ['the empty string', ''],
  ['a NUL', '\0'],
  ['a NUL inside', 'a\0b'],
  ['a lone high surrogate', '\ud800'],
  ['a lone low surrogate', '\udc00'],
  ['a line break', 'a\r\nb'],
  ['1 MB', 'x'.repeat(2 ** 20)],
];

/** The string after it was sent as UTF-8. */
export const wellFormed = (text: string): string => Buffer.from(text).toString();
