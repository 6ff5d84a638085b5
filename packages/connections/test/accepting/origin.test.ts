import { describe, expect, test } from 'vitest';
import { isOriginAllowed } from '../../src/index.js';
import { assertOrigins } from '../../src/accepting/origin.js';

const asked = (origin: string | undefined, host: string | undefined = 'app.example') => ({
  headers: { origin, host },
});

describe('isOriginAllowed', () => {
  test.each([
    ['no origin', asked(undefined)],
    ['no origin and no host', asked(undefined, undefined)],
    ['the own host', asked('https://app.example')],
    ['the own host over another scheme', asked('http://app.example')],
    ['the own host and port', asked('http://app.example:8080', 'app.example:8080')],
    [
      'the own host, whose header names the port of the scheme',
      asked('https://app.example', 'app.example:443'),
    ],
    ['the own host in capitals', asked('https://app.example', 'App.Example')],
    ['an IPv6 address', asked('http://[::1]:8080', '[::1]:8080')],
  ])('isOriginAllowed allows %s', (_, request) => {
    expect(isOriginAllowed(request)).toBe(true);
  });

  test.each([
    ['null', asked('null')],
    ['an empty one', asked('')],
    ['another host', asked('https://evil.example')],
    ['a subdomain', asked('https://a.app.example')],
    ['the host as the start of another', asked('https://app.example.evil')],
    ['the own host on another port', asked('https://app.example:444')],
    [
      'the own host, whose header names the port of another scheme',
      asked('https://app.example', 'app.example:80'),
    ],
    ['two', asked('https://app.example, https://evil.example')],
    ['something that is no URL', asked('app.example')],
    ['any without a host', { headers: { origin: 'https://app.example' } }],
    ['any with a host that is none', asked('https://app.example', 'evil@app.example')],
    ['any with a host that has a path', asked('https://app.example', 'app.example/x')],
    ['a scheme without a host', asked('file://', '')],
  ])('isOriginAllowed refuses %s', (_, request) => {
    expect(isOriginAllowed(request)).toBe(false);
  });

  test.each(['https://app.example', ['https://app.example/'], ['app.example'], [5], null])(
    'isOriginAllowed throws for %o, which is not a list of origins',
    (origins) => {
      // A string has `includes` too: `https://app.ex` was allowed by 'https://app.example'.
      const call = () => isOriginAllowed(asked('https://app.ex'), origins as never);
      expect(call).toThrow(TypeError);
      expect(call).toThrow('Expected origins to be');
    },
  );

  test('isOriginAllowed allows exactly the origins of the list, or all with *', () => {
    expect(isOriginAllowed(asked('https://a.example'), ['https://a.example'])).toBe(true);
    expect(isOriginAllowed(asked('http://a.example'), ['https://a.example'])).toBe(false);
    expect(isOriginAllowed(asked('null'), ['*'])).toBe(true);
  });
});

describe('the origins of a list', () => {
  test.each(['https://a.example', 'http://127.0.0.1:8080', 'chrome-extension://abcdef', 'http://[::1]', '*'])(
    'a list of origins may contain %s',
    (origin) => expect(() => assertOrigins([origin])).not.toThrow(),
  );

  test.each([
    'https://a.example/',
    'https://a.example:443',
    'https://A.example',
    'a.example',
    '*.a.example',
    // It matched nothing: subdomains were refused although the list seemed to allow them.
    'https://*.a.example',
    'https://a.example:*',
    'null',
    '',
    'https://a b',
    'https://',
    7,
  ])('a list of origins may not contain %s, which no browser sends', (origin) => {
    expect(() => assertOrigins([origin])).toThrow(TypeError);
  });

  test('a list of origins must be an array', () => {
    expect(() => assertOrigins('https://a.example')).toThrow(/origins to be an array/);
  });
});
