import { describe, expect, test } from 'vitest';
import { ConnectionsPool } from '../src/index.js';
import { expectRefusals, type Refusal } from './support/refusals.js';

describe('new ConnectionsPool', () => {
  const make = (options: unknown): unknown => Reflect.construct(ConnectionsPool, [options]);
  const times = ['idleTimeout', 'closeTimeout'];
  expectRefusals([
    [
      'pool options of null',
      () => make(null),
      TypeError,
      'the pool options to be an object',
      'got `null` (null)',
    ],
    [
      'a number as the pool options',
      () => make(5),
      TypeError,
      'the pool options to be an object',
      'got `5` (number)',
    ],
    [
      'a string as the pool options',
      () => make('replace'),
      TypeError,
      'the pool options to be an object',
      'got `replace` (string)',
    ],
    [
      'a typo in onDuplicate',
      () => make({ onDuplicate: 'replce' }),
      TypeError,
      "onDuplicate to be 'reject' or 'replace'",
      'got `replce`',
    ],
    [
      'onDuplicate of true',
      () => make({ onDuplicate: true }),
      TypeError,
      'onDuplicate',
      'got `true` (boolean)',
    ],
    ['onDuplicate of null', () => make({ onDuplicate: null }), TypeError, 'onDuplicate', 'got `null` (null)'],
    [
      'onDuplicate of a long text',
      () => make({ onDuplicate: 'x'.repeat(2 ** 20) }),
      TypeError,
      'onDuplicate',
      '…`',
    ],
    [
      'a typo in onSlow',
      () => make({ onSlow: 'ignore' }),
      TypeError,
      "onSlow to be 'close' or 'drop'",
      'got `ignore` (string)',
    ],
    ['onSlow of null', () => make({ onSlow: null }), TypeError, 'onSlow', 'got `null` (null)'],
    ...times.flatMap((name): Refusal[] => [
      [`${name} in a string`, () => make({ [name]: '5' }), TypeError, name, 'got `5` (string)'],
      [`${name} of null`, () => make({ [name]: null }), TypeError, name, 'got `null` (null)'],
      [`${name} of 0`, () => make({ [name]: 0 }), RangeError, name, 'got `0` (number)'],
      [`${name} below 0`, () => make({ [name]: -1 }), RangeError, name, 'got `-1` (number)'],
      [`${name} of NaN`, () => make({ [name]: NaN }), RangeError, name, 'got `NaN` (number)'],
      // A timer of Node with that delay fires at once.
      [`${name} without end`, () => make({ [name]: Infinity }), RangeError, name, 'got `Infinity` (number)'],
      [`${name} of 2^31 ms`, () => make({ [name]: 2 ** 31 }), RangeError, name, 'got `2147483648` (number)'],
    ]),
    [
      'maxBufferedBytes in a string',
      () => make({ maxBufferedBytes: '1' }),
      TypeError,
      'maxBufferedBytes',
      '(string)',
    ],
    ['maxBufferedBytes of 0', () => make({ maxBufferedBytes: 0 }), RangeError, 'maxBufferedBytes', 'got `0`'],
    [
      'maxBufferedBytes of 1.5',
      () => make({ maxBufferedBytes: 1.5 }),
      RangeError,
      'maxBufferedBytes',
      'got `1.5`',
    ],
    [
      'maxBufferedBytes of NaN',
      () => make({ maxBufferedBytes: NaN }),
      RangeError,
      'maxBufferedBytes',
      'got `NaN`',
    ],
    [
      'heartbeat of a number',
      () => make({ heartbeat: 30_000 }),
      TypeError,
      'heartbeat',
      'got `30000` (number)',
    ],
    ['heartbeat of null', () => make({ heartbeat: null }), TypeError, 'heartbeat', 'got `null` (null)'],
    ['a heartbeat of 0 ms', () => make({ heartbeat: { interval: 0 } }), RangeError, 'interval', 'got `0`'],
    ['a heartbeat in text', () => make({ heartbeat: { interval: '1' } }), TypeError, 'interval', '(string)'],
    [
      'a heartbeat timeout of NaN',
      () => make({ heartbeat: { timeout: NaN } }),
      RangeError,
      'timeout',
      'got `NaN`',
    ],
    ['rateLimit of a number', () => make({ rateLimit: 5 }), TypeError, 'rateLimit', 'got `5` (number)'],
    ['rateLimit of null', () => make({ rateLimit: null }), TypeError, 'rateLimit', 'got `null` (null)'],
    [
      'a rateLimit without a rate',
      () => make({ rateLimit: {} }),
      TypeError,
      'messagesPerSecond',
      'bytesPerSecond',
    ],
    ...['messagesPerSecond', 'bytesPerSecond'].flatMap((name): Refusal[] => [
      [
        `${name} in a string`,
        () => make({ rateLimit: { [name]: '5' } }),
        TypeError,
        name,
        'got `5` (string)',
      ],
      [`${name} of 0`, () => make({ rateLimit: { [name]: 0 } }), RangeError, name, 'got `0`'],
      [`${name} below 0`, () => make({ rateLimit: { [name]: -1 } }), RangeError, name, 'got `-1`'],
      [`${name} of NaN`, () => make({ rateLimit: { [name]: NaN } }), RangeError, name, 'got `NaN`'],
      [
        `${name} without end`,
        () => make({ rateLimit: { [name]: Infinity } }),
        RangeError,
        name,
        'got `Infinity`',
      ],
    ]),
    ...([0, 1.5, NaN, Infinity] as const).map((burst): Refusal => [
      `a burst of ${burst}`,
      () => make({ rateLimit: { messagesPerSecond: 5, burst } }),
      RangeError,
      'rateLimit.burst',
      `got \`${burst}\``,
    ]),
    [
      'a burst in a string',
      () => make({ rateLimit: { messagesPerSecond: 5, burst: '5' } }),
      TypeError,
      'rateLimit.burst',
      'got `5` (string)',
    ],
    [
      'a burst of bytes',
      () => make({ rateLimit: { bytesPerSecond: 5, burst: 5 } }),
      TypeError,
      'rateLimit.burst',
      'messagesPerSecond',
    ],
    [
      'a typo in onExceeded',
      () => make({ rateLimit: { messagesPerSecond: 5, onExceeded: 'paus' } }),
      TypeError,
      "rateLimit.onExceeded to be 'close' or 'drop' or 'pause'",
      'got `paus`',
    ],
    [
      'compression of true',
      () => make({ compression: true }),
      TypeError,
      'compression to be an object',
      'got `true` (boolean)',
    ],
    [
      'a compression history of a number',
      () => make({ compression: { history: 8_192 } }),
      TypeError,
      'compression.history to be an object',
      'got `8192` (number)',
    ],
    [
      'a compression history in a string',
      () => make({ compression: { history: { bytes: '8192' } } }),
      TypeError,
      'compression.history.bytes to be a number',
      'got `8192` (string)',
    ],
    ...[511, 32_769, 1_000.5].map((bytes): Refusal => [
      `a compression history of ${bytes} bytes`,
      () => make({ compression: { history: { bytes } } }),
      RangeError,
      'compression.history.bytes to be an integer from 512 to 32768',
      `got \`${bytes}\` (number)`,
    ]),
  ]);

  test.each([{ heartbeat: false }, { maxBufferedBytes: 1 }])('pool options of %o are accepted', (options) => {
    expect(() => make(options)).not.toThrow();
  });
});

const POOL =
  'onDuplicate, idleTimeout, closeTimeout, maxBufferedBytes, onSlow, compression, heartbeat, maxFlushMs, ' +
  'maxRoomsPerConnection, conflateAboveBytes, rateLimit, adapter, cluster';

test.each<[string, object, string]>([
  ['maxBufferdBytes', { maxBufferdBytes: 5 }, `in the pool options. Valid options: ${POOL}`],
  ['intervall', { heartbeat: { intervall: 5 } }, 'in heartbeat. Valid options: interval, timeout'],
  [
    'messagesPerSec',
    { rateLimit: { messagesPerSec: 5 } },
    'in rateLimit. Valid options: messagesPerSecond, bytesPerSecond, burst, onExceeded',
  ],
  ['histroy', { compression: { histroy: true } }, 'in compression. Valid options: history'],
  ['size', { compression: { history: { size: 512 } } }, 'in compression.history. Valid options: bytes'],
])('the unknown option %s is refused, and the error names the valid ones', (name, options, text) => {
  // JavaScript ignores a misspelt option: the pool ran with the default.
  const make = (): unknown => new ConnectionsPool(options);
  expect(make).toThrow(TypeError);
  expect(make).toThrow(`Unknown option \`${name}\` ${text}`);
});
