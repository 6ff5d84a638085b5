import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Connection, ConnectionsPool, type WebSocketMessage } from '../src/index.js';
import { Loopback } from './support/loopback.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';
import { watchUnhandled } from './support/unhandled.js';

/** What JavaScript callers may pass, whatever the declared type says. */
const anything = (value: unknown): never => value as never;
const id = anything;

type Kind = typeof TypeError | typeof RangeError;
type Fixture = Awaited<ReturnType<typeof members>>;
/** A call that must be refused, and the words of its error: what was expected, what came. */
type Refusal = readonly [
  title: string,
  call: (fixture: Fixture) => unknown,
  kind: Kind,
  expected: string,
  received: string,
];

/** A pool with two members and a stranger, on sockets that keep what they are given. */
async function members() {
  const pool = new ConnectionsPool();
  const first = connectInMemory('first');
  const second = connectInMemory('second');
  const stranger = connectInMemory('stranger');
  await pool.newConnection(first.connection);
  await pool.newConnection(second.connection);
  return { pool, first, second, stranger, connection: first.connection };
}

const registryOf = ({ pool }: Fixture): unknown =>
  [...pool.connections].map(([namespace, held]) => [namespace, [...held]]);

/** The error of a call, thrown or rejected. */
async function errorOf(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  throw new Error('The call was not refused');
}

/** Nothing was sent, closed, added or removed, and everything still works. */
async function expectUntouched(fixture: Fixture, registryBefore: unknown): Promise<void> {
  const { pool, first, second, stranger } = fixture;
  expect(registryOf(fixture)).toEqual(registryBefore);
  expect(pool.draining).toBe(false);
  for (const { socket, connection } of [first, second, stranger]) {
    expect(socket.sent).toEqual([]);
    expect(socket.closes).toEqual([]);
    expect(connection.closed).toBe(false);
  }
  await expect(pool.broadcastMessage('default', 'after')).resolves.toMatchObject({ recipients: 2, sent: 2 });
  expect([first.socket.sent, second.socket.sent, stranger.socket.sent]).toEqual([['after'], ['after'], []]);
}

function expectRefusals(rows: readonly Refusal[]): void {
  test.each(rows)('%s', async (_title, call, kind, expected, received) => {
    const { reasons, settle } = watchUnhandled();
    const fixture = await members();
    const before = registryOf(fixture);
    const error = await errorOf(() => call(fixture));
    expect(error).toBeInstanceOf(kind);
    const { message } = error as Error;
    expect(message).toContain(expected);
    expect(message).toContain(received);
    expect(message).toMatch(/^Expected .+, got /);
    await expectUntouched(fixture, before);
    await settle();
    expect(reasons).toEqual([]);
  });
}

const cyclic: Record<string, unknown> = {};
cyclic['self'] = cyclic;

/** No messages of a WebSocket. */
const notMessages: readonly [title: string, value: unknown, received: string][] = [
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

/** What JSON cannot express. */
const notJson: readonly [title: string, value: unknown, received: string][] = [
  ['undefined', undefined, 'got `undefined` (undefined)'],
  ['a function', function named() {}, 'got `named` (function)'],
  ['a symbol', Symbol('s'), 'got `Symbol(s)` (symbol)'],
  ['a BigInt', 10n, 'got `10` (bigint)'],
  ['a BigInt inside', { a: [1n] }, 'got `Object` (object)'],
  ['a cycle', cyclic, 'got `Object` (object)'],
];

/** Close arguments that cannot be sent. */
const notClosing: readonly [
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

const notNamespaces: readonly [title: string, value: unknown, received: string][] = [
  ['undefined', undefined, 'got `undefined` (undefined)'],
  ['null', null, 'got `null` (null)'],
  ['a number', 5, 'got `5` (number)'],
  ['an object', {}, 'got `Object` (object)'],
  ['a String object', Object('default') as unknown, 'got `String` (object)'],
];

const notIterables: readonly [title: string, value: unknown, received: string][] = [
  // It would be taken apart into characters: nobody would be excepted, without a word.
  ['a string', 'first', 'got `first` (string)'],
  ['null', null, 'got `null` (null)'],
  ['a number', 5, 'got `5` (number)'],
  ['an object', { 0: 'first', length: 1 }, 'got `Object` (object)'],
];

describe('new Connection refuses', () => {
  const socket = new MemorySocket();
  const make = (...args: unknown[]): unknown => Reflect.construct(Connection, args);
  const noop = (): undefined => undefined;
  expectRefusals([
    [
      'an id of undefined',
      () => make(undefined, 'a', socket),
      TypeError,
      'id',
      'got `undefined` (undefined)',
    ],
    ['an id of null', () => make(null, 'a', socket), TypeError, 'id', 'got `null` (null)'],
    ['an id of NaN', () => make(NaN, 'a', socket), TypeError, 'id', 'got `NaN` (number)'],
    ['an object for an id', () => make({}, 'a', socket), TypeError, 'id', 'got `Object` (object)'],
    ['a symbol for an id', () => make(Symbol('s'), 'a', socket), TypeError, 'id', '(symbol)'],
    ...notNamespaces.map(([title, value, received]): Refusal => [
      `${title} for a namespace`,
      () => make('1', value, socket),
      TypeError,
      'namespace',
      received,
    ]),
    ['no socket', () => make('1', 'a'), TypeError, 'WebSocket-like', 'got `undefined` (undefined)'],
    ['null for a socket', () => make('1', 'a', null), TypeError, 'WebSocket-like', 'got `null` (null)'],
    [
      'a URL for a socket',
      () => make('1', 'a', 'ws://a'),
      TypeError,
      'WebSocket-like',
      'got `ws://a` (string)',
    ],
    ['a socket without send', () => make('1', 'a', { close: noop }), TypeError, 'send()', 'got `Object`'],
    ['a socket without close', () => make('1', 'a', { send: noop }), TypeError, 'close()', 'got `Object`'],
    ['handlers of null', () => make('1', 'a', socket, null), TypeError, 'handlers', 'got `null` (null)'],
    ['a function for handlers', () => make('1', 'a', socket, noop), TypeError, 'handlers', '(function)'],
    [
      'handlers without close',
      () => make('1', 'a', socket, { send: noop }),
      TypeError,
      'handlers',
      'got `Object`',
    ],
    [
      'handlers without send',
      () => make('1', 'a', socket, { close: noop }),
      TypeError,
      'handlers',
      'got `Object`',
    ],
  ]);

  test('a socket before it has listened to it', () => {
    const untouched = new MemorySocket();
    expect(() => make(undefined, 'a', untouched)).toThrow(TypeError);
    expect(() => make('1', 'a', untouched, {})).toThrow(TypeError);
    expect(untouched.eventNames()).toEqual([]);
  });
});

describe('a connection refuses to', () => {
  const message = 'a string, ArrayBuffer, typed array, Buffer or Blob';
  const json = 'a value that JSON can express';
  const value = anything;
  expectRefusals([
    ...notMessages.flatMap(([title, wrong, received]): Refusal[] => [
      [`send ${title}`, ({ connection }) => connection.send(value(wrong)), TypeError, message, received],
      [
        `sendThenClose ${title}`,
        ({ connection }) => connection.sendThenClose(value(wrong)),
        TypeError,
        'sendJson()',
        received,
      ],
    ]),
    ...notJson.flatMap(([title, wrong, received]): Refusal[] => [
      [`sendJson ${title}`, ({ connection }) => connection.sendJson(wrong), TypeError, json, received],
      [
        `sendJsonThenClose ${title}`,
        ({ connection }) => connection.sendJsonThenClose(wrong),
        TypeError,
        json,
        received,
      ],
      [`sendError ${title}`, ({ connection }) => connection.sendError(wrong), TypeError, json, received],
      [
        `sendErrorThenClose ${title}`,
        ({ connection }) => connection.sendErrorThenClose(wrong),
        TypeError,
        json,
        received,
      ],
    ]),
    ...notClosing.flatMap(([title, args, kind, expected, received]): Refusal[] => {
      const [code, reason] = args as [never, never];
      return [
        [`close with ${title}`, ({ connection }) => connection.close(code, reason), kind, expected, received],
        [
          `sendThenClose with ${title}`,
          ({ connection }) => connection.sendThenClose('x', code, reason),
          kind,
          expected,
          received,
        ],
        [
          `sendJsonThenClose with ${title}`,
          ({ connection }) => connection.sendJsonThenClose('x', code, reason),
          kind,
          expected,
          received,
        ],
        [
          `sendErrorThenClose with ${title}`,
          ({ connection }) => connection.sendErrorThenClose('x', code, reason),
          kind,
          expected,
          received,
        ],
        [
          `sendError with ${title}`,
          ({ connection }) => connection.sendError('x', code, reason),
          kind,
          expected,
          received,
        ],
      ];
    }),
    [
      'sendJson what throws while it is encoded',
      ({ connection }) =>
        connection.sendJson({
          toJSON: () => {
            throw new Error('no');
          },
        }),
      TypeError,
      json,
      'no',
    ],
    [
      'handleMessage a number',
      ({ connection }) => {
        connection.on('message', () => undefined);
        connection.handleMessage(5);
      },
      TypeError,
      'text or bytes',
      'got `5` (number)',
    ],
  ]);
});

describe('new ConnectionsPool refuses', () => {
  const make = (options: unknown): unknown => Reflect.construct(ConnectionsPool, [options]);
  const times = ['idleTimeout', 'closeTimeout'];
  expectRefusals([
    ['null', () => make(null), TypeError, 'the pool options to be an object', 'got `null` (null)'],
    ['a number', () => make(5), TypeError, 'the pool options to be an object', 'got `5` (number)'],
    [
      'a string',
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
      // A Node timer of that length fires at once.
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

  test.each([{ heartbeat: false }, { maxBufferedBytes: 1 }])('not %o', (options) => {
    expect(() => make(options)).not.toThrow();
  });
});

describe('a pool refuses', () => {
  const strangers: readonly [title: string, value: unknown, received: string][] = [
    ['undefined', undefined, 'got `undefined` (undefined)'],
    ['null', null, 'got `null` (null)'],
    ['an id', 'first', 'got `first` (string)'],
    ['a socket', new MemorySocket(), 'got `Object` (object)'],
    ['what looks like a connection', { id: 'x', namespace: 'default', send: null }, 'got `Object` (object)'],
  ];
  const value = anything;
  /** Each method that takes a namespace. */
  const inNamespace: Record<string, (pool: ConnectionsPool, namespace: never) => unknown> = {
    send: (pool, namespace) => pool.send(namespace, 'first', 'x'),
    sendJson: (pool, namespace) => pool.sendJson(namespace, 'first', 'x'),
    sendError: (pool, namespace) => pool.sendError(namespace, 'first', 'x'),
    sendThenClose: (pool, namespace) => pool.sendThenClose(namespace, 'first', 'x'),
    sendJsonThenClose: (pool, namespace) => pool.sendJsonThenClose(namespace, 'first', 'x'),
    sendErrorThenClose: (pool, namespace) => pool.sendErrorThenClose(namespace, 'first', 'x'),
    close: (pool, namespace) => pool.close(namespace, 'first'),
    closeAll: (pool, namespace) => pool.closeAll(namespace),
    broadcastMessage: (pool, namespace) => pool.broadcastMessage(namespace, 'x'),
    broadcastJsonMessage: (pool, namespace) => pool.broadcastJsonMessage(namespace, 'x'),
    broadcastError: (pool, namespace) => pool.broadcastError(namespace, 'x'),
    'broadcastError with a code': (pool, namespace) => pool.broadcastError(namespace, 'x', 4000),
  };
  /** Each method that takes a message as it is. */
  const ofMessage: Record<string, (pool: ConnectionsPool, message: never) => unknown> = {
    send: (pool, message) => pool.send('default', 'first', message),
    sendThenClose: (pool, message) => pool.sendThenClose('default', 'first', message),
    broadcastMessage: (pool, message) => pool.broadcastMessage('default', message),
  };
  const ofJson: Record<string, (pool: ConnectionsPool, message: unknown) => unknown> = {
    sendJson: (pool, message) => pool.sendJson('default', 'first', message),
    sendJsonThenClose: (pool, message) => pool.sendJsonThenClose('default', 'first', message),
    sendError: (pool, message) => pool.sendError('default', 'first', message),
    sendErrorThenClose: (pool, message) => pool.sendErrorThenClose('default', 'first', message),
    broadcastJsonMessage: (pool, message) => pool.broadcastJsonMessage('default', message),
    broadcastError: (pool, message) => pool.broadcastError('default', message),
    'broadcastError with a code': (pool, message) => pool.broadcastError('default', message, 4000),
  };
  const ofClose: Record<string, (pool: ConnectionsPool, code: never, reason: never) => unknown> = {
    close: (pool, code, reason) => pool.close('default', 'first', code, reason),
    closeAll: (pool, code, reason) => pool.closeAll('default', code, reason),
    sendError: (pool, code, reason) => pool.sendError('default', 'first', 'x', code, reason),
    sendThenClose: (pool, code, reason) => pool.sendThenClose('default', 'first', 'x', code, reason),
    sendJsonThenClose: (pool, code, reason) => pool.sendJsonThenClose('default', 'first', 'x', code, reason),
    sendErrorThenClose: (pool, code, reason) =>
      pool.sendErrorThenClose('default', 'first', 'x', code, reason),
    broadcastError: (pool, code, reason) => pool.broadcastError('default', 'x', code, reason),
    drainConnections: (pool, code, reason) => pool.drainConnections(10, reason, code),
    'drainConnections with options': (pool, code, reason) =>
      pool.drainConnections(anything({ code, reason })),
  };
  const ofExceptions: Record<string, (pool: ConnectionsPool, exceptions: never) => unknown> = {
    broadcastMessage: (pool, exceptions) => pool.broadcastMessage('default', 'x', exceptions),
    broadcastJsonMessage: (pool, exceptions) => pool.broadcastJsonMessage('default', 'x', exceptions),
    broadcastError: (pool, exceptions) => pool.broadcastError('default', 'x', undefined, '', exceptions),
    'broadcastError with a code': (pool, exceptions) =>
      pool.broadcastError('default', 'x', 4000, '', exceptions),
  };
  const rates: readonly [title: string, rate: unknown, Kind, received: string][] = [
    ['a rate in a string', '10', TypeError, 'got `10` (string)'],
    ['a rate of null', null, TypeError, 'got `null` (null)'],
    ['a rate of 0', 0, RangeError, 'got `0` (number)'],
    ['a negative rate', -1, RangeError, 'got `-1` (number)'],
    ['a rate of NaN', NaN, RangeError, 'got `NaN` (number)'],
    ['an infinite rate', Infinity, RangeError, 'got `Infinity` (number)'],
    ['a rate of 1.5', 1.5, RangeError, 'got `1.5` (number)'],
  ];

  const rows: Refusal[] = [];
  for (const [title, wrong, received] of strangers) {
    rows.push(
      [
        `newConnection of ${title}`,
        ({ pool }) => pool.newConnection(value(wrong)),
        TypeError,
        'a Connection',
        received,
      ],
      [
        `removeConnection of ${title}`,
        ({ pool }) => pool.removeConnection(value(wrong)),
        TypeError,
        'a Connection',
        received,
      ],
    );
  }
  for (const [title, wrong, received] of notNamespaces) {
    for (const [name, call] of Object.entries(inNamespace)) {
      rows.push([
        `${name} with ${title} for a namespace`,
        ({ pool }) => call(pool, value(wrong)),
        TypeError,
        'namespace to be a string',
        received,
      ]);
    }
  }
  for (const [title, wrong, received] of notMessages) {
    for (const [name, call] of Object.entries(ofMessage)) {
      rows.push([
        `${name} of ${title}`,
        ({ pool }) => call(pool, value(wrong)),
        TypeError,
        'sendJson()',
        received,
      ]);
    }
  }
  for (const [title, wrong, received] of notJson) {
    for (const [name, call] of Object.entries(ofJson)) {
      rows.push([`${name} of ${title}`, ({ pool }) => call(pool, wrong), TypeError, 'JSON', received]);
    }
  }
  for (const [title, [code, reason], kind, expected, received] of notClosing) {
    for (const [name, call] of Object.entries(ofClose)) {
      const run = ({ pool }: Fixture): unknown => call(pool, value(code), value(reason));
      rows.push([`${name} with ${title}`, run, kind, expected, received]);
    }
  }
  for (const [title, wrong, received] of notIterables) {
    for (const [name, call] of Object.entries(ofExceptions)) {
      rows.push([
        `${name} with ${title} for exceptions`,
        ({ pool }) => call(pool, value(wrong)),
        TypeError,
        'exceptions to be an iterable',
        received,
      ]);
    }
  }
  for (const [title, rate, kind, received] of rates) {
    rows.push([
      `drainConnections with ${title}`,
      ({ pool }) => pool.drainConnections(value(rate)),
      kind,
      'maxPerSecond',
      received,
    ]);
    if (rate === null) continue;
    rows.push([
      `drainConnections with ${title} in options`,
      ({ pool }) => pool.drainConnections({ maxPerSecond: value(rate) }),
      kind,
      'maxPerSecond',
      received,
    ]);
  }
  for (const [title, wrong, received] of [
    ['a string', 'x', 'got `x` (string)'],
    ['null', null, 'got `null` (null)'],
  ] as const) {
    rows.push([
      `removeConnection with ${title} for a callback`,
      ({ pool, connection }) => pool.removeConnection(connection, value(wrong)),
      TypeError,
      'onEmptyNamespace to be a function',
      received,
    ]);
  }
  expectRefusals(rows);

  test('nothing of a broadcast whose exceptions throw while they are read', async () => {
    const fixture = await members();
    const before = registryOf(fixture);
    const failing = {
      [Symbol.iterator]: (): Iterator<string> => ({
        next: () => {
          throw new Error('exceptions failed');
        },
      }),
    };
    await expect(fixture.pool.broadcastMessage('default', 'x', failing)).rejects.toThrow('exceptions failed');
    await expect(fixture.pool.broadcastError('default', 'x', 4000, '', failing)).rejects.toThrow(
      'exceptions failed',
    );
    await expectUntouched(fixture, before);
  });

  test('no unknown id: there is simply nobody', async () => {
    const fixture = await members();
    const before = registryOf(fixture);
    const { pool } = fixture;
    for (const wrong of [undefined, null, 5, {}, [], Symbol('s'), NaN, '', '__proto__', 'FIRST']) {
      await expect(pool.send('default', id(wrong), 'x')).resolves.toBe(false);
      await expect(pool.sendJson('default', id(wrong), 'x')).resolves.toBe(false);
      await expect(pool.sendError('default', id(wrong), 'x')).resolves.toBe(false);
      await expect(pool.sendThenClose('default', id(wrong), 'x')).resolves.toBe(false);
      await expect(pool.close('default', id(wrong))).resolves.toBeUndefined();
      expect(pool.getConnection('default', id(wrong))).toBeUndefined();
      await expect(pool.broadcastMessage('nowhere', 'x', [id(wrong)])).resolves.toMatchObject({
        recipients: 0,
      });
    }
    await expectUntouched(fixture, before);
  });
});

describe('in a wrong state', () => {
  test('a closed connection sends nothing, closes once more in silence and joins no pool', async () => {
    const pool = new ConnectionsPool();
    const { connection, socket } = connectInMemory();
    await connection.close(4000);
    await expect(connection.send('x')).resolves.toBe(false);
    await expect(connection.sendThenClose('x', 4001)).resolves.toBe(false);
    await connection.close(4001);
    connection.terminate();
    connection.updateTimeout();
    connection.handleMessage('late');
    connection.handleClose(4002);
    expect(socket.closes).toEqual([{ code: 4000, reason: '' }]);
    expect(socket.sent).toEqual([]);

    await pool.newConnection(connection);
    expect(pool.stats()).toMatchObject({ connections: 0, namespaces: 0 });
  });

  test('mistakes in the arguments are mistakes on a closed connection too', async () => {
    const { connection } = connectInMemory();
    await connection.close();
    await expect(connection.send(anything(5))).rejects.toThrow(TypeError);
    await expect(connection.close(999)).rejects.toThrow(RangeError);
  });

  test('a connection is in one pool only', async () => {
    const [one, other] = [new ConnectionsPool(), new ConnectionsPool({ onDuplicate: 'replace' })];
    const { connection } = connectInMemory();
    await one.newConnection(connection);
    await expect(other.newConnection(connection)).rejects.toMatchObject({ code: 'ERR_CONNECTION_IN_USE' });
    await other.removeConnection(connection);
    expect(one.getConnection('default', '1')).toBe(connection);
    expect(other.stats()).toMatchObject({ connections: 0, refused: 1 });

    await one.removeConnection(connection);
    await other.newConnection(connection);
    expect(other.getConnection('default', '1')).toBe(connection);
  });

  test('a connection that joins twice is there once', async () => {
    const pool = new ConnectionsPool();
    const onConnection = vi.fn();
    pool.on('connection', onConnection);
    const { connection } = connectInMemory();
    await pool.newConnection(connection);
    await pool.newConnection(connection);
    expect(pool.stats().connections).toBe(1);
    expect(onConnection).toHaveBeenCalledTimes(1);
    await expect(pool.broadcastMessage('default', 'x')).resolves.toMatchObject({ recipients: 1 });
  });

  test('a pool that drains starts no second drain and takes nobody', async () => {
    const pool = new ConnectionsPool();
    const member = connectInMemory('1', 'default', new MemorySocket(false));
    await pool.newConnection(member.connection);
    const drained = pool.drainConnections(10);
    await expect(pool.drainConnections(10)).rejects.toMatchObject({ code: 'ERR_POOL_DRAINING' });
    await expect(pool.drainConnections(0)).rejects.toThrow(RangeError);
    const late = connectInMemory('2');
    await expect(pool.newConnection(late.connection)).rejects.toMatchObject({ code: 'ERR_POOL_DRAINING' });
    expect(late.socket.closes).toMatchObject([{ code: 1013 }]);
    // One that is in already stays in.
    await expect(pool.newConnection(member.connection)).resolves.toBeUndefined();
    member.socket.end();
    await drained;
  });
});

/** Names that have broken registries made of plain objects, terminals, and URL parsers. */
const hostile: readonly [title: string, text: string][] = [
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

/** As UTF-8 carries it. */
const wellFormed = (text: string): string => Buffer.from(text).toString();

describe('hostile strings', () => {
  test.each(hostile)('%s is an ordinary namespace and an ordinary id', async (_title, name) => {
    const pool = new ConnectionsPool();
    const bystander = connectInMemory('bystander', 'elsewhere');
    await pool.newConnection(bystander.connection);
    const empty = vi.fn();
    const { connection, socket } = connectInMemory(name, name);
    const twin = connectInMemory(`${name}'`, name);
    expect(pool.hasNamespace(name)).toBe(false);
    expect(pool.getConnection(name, name)).toBeUndefined();

    await pool.newConnection(connection);
    await pool.newConnection(twin.connection);
    expect([...pool.connections.keys()]).toEqual(['elsewhere', name]);
    expect(pool.getConnection(name, name)).toBe(connection);
    await expect(pool.newConnection(connectInMemory(name, name).connection)).rejects.toMatchObject({
      code: 'ERR_DUPLICATE_CONNECTION',
    });
    await expect(pool.send(name, name, 'private')).resolves.toBe(true);
    await expect(pool.broadcastMessage(name, 'all', [name])).resolves.toMatchObject({
      recipients: 1,
      sent: 1,
    });
    expect(connection.toRemote(name)).toEqual({ id: name, namespace: name, instanceId: name });

    await pool.removeConnection(twin.connection, empty);
    expect(empty).not.toHaveBeenCalled();
    await pool.removeConnection(connection, empty);
    expect(empty).toHaveBeenCalledTimes(1);
    expect(pool.hasNamespace(name)).toBe(false);
    expect(socket.sent).toEqual(['private']);
    expect(twin.socket.sent).toEqual(['all']);
    expect(bystander.socket.sent).toEqual([]);
    expect(({} as Record<string, unknown>)['bystander']).toBeUndefined();
  });

  test.each(hostile)('%s is an ordinary message', async (_title, text) => {
    const loopback = await Loopback.start();
    const pool = new ConnectionsPool();
    const { client, connection } = await loopback.connect('1');
    await pool.newConnection(connection);
    // What has no UTF-8 becomes U+FFFD (WHATWG Encoding §4.2), as in any WebSocket.
    const arriving = wellFormed(text);
    const sent = [
      pool.broadcastMessage('default', text),
      connection.send(text),
      connection.sendJson(text),
      pool.broadcastJsonMessage('default', { [text]: text }),
    ];
    await Promise.all(sent);
    const [broadcast, single, json, object] = await client.exactly(4);
    expect(broadcast === arriving && single === arriving).toBe(true);
    expect(JSON.parse(json as string) === text).toBe(true);
    expect(Object.entries(JSON.parse(object as string) as object)).toEqual(
      text === '__proto__' ? [['__proto__', text]] : Object.entries({ [text]: text }),
    );
    expect(({} as Record<string, unknown>)[text] === text).toBe(false);
  });

  test.each(hostile.filter(([, text]) => text.length <= 123))(
    '%s is an ordinary reason',
    async (_title, text) => {
      const loopback = await Loopback.start();
      const { client, connection } = await loopback.connect('1');
      await connection.close(4000, text);
      expect(await client.closed).toEqual({ code: 4000, reason: wellFormed(text) });
    },
  );

  test('an error repeats only the beginning of what it got', async () => {
    const { connection } = connectInMemory();
    const huge = 'x'.repeat(2 ** 20);
    const error = await errorOf(() => connection.close(anything(huge)));
    expect((error as Error).message.length).toBeLessThan(200);
  });

  test.each([
    [60, `got \`${'x'.repeat(60)}\` (string)`],
    [61, `got \`${'x'.repeat(60)}…\` (string)`],
  ])('an error repeats at most 60 characters, of %i', async (length, received) => {
    const { connection } = connectInMemory();
    const error = await errorOf(() => connection.close(anything('x'.repeat(length))));
    expect((error as Error).message).toContain(received);
  });
});

test('a message that a real client cannot be sent does not disturb those around it', async () => {
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const { client, connection } = await loopback.connect('1');
  await pool.newConnection(connection);
  onTestFinished(() => connection.terminate());
  const outcomes = await Promise.allSettled([
    connection.send('one'),
    connection.send(anything({ not: 'a message' })),
    pool.broadcastMessage('default', 'two'),
    pool.broadcastMessage('default', anything(null)),
    pool.broadcastJsonMessage('default', cyclic),
    connection.send(new Uint8Array([1, 2]) satisfies WebSocketMessage),
  ]);
  expect(outcomes.map(({ status }) => status)).toEqual([
    'fulfilled',
    'rejected',
    'fulfilled',
    'rejected',
    'rejected',
    'fulfilled',
  ]);
  expect(await client.exactly(3)).toEqual(['one', 'two', Buffer.from([1, 2])]);
});
