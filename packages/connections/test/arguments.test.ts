import { describe, expect, test } from 'vitest';
import { Connection } from '../src/index.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';
import { anything, expectRefusals, type Refusal } from './support/refusals.js';
import { notClosing, notJson, notMessages, notNamespaces } from './support/wrong-values.js';

describe('new Connection', () => {
  const socket = new MemorySocket();
  const make = (...args: unknown[]): unknown => Reflect.construct(Connection, args);
  const noop = (): undefined => undefined;
  expectRefusals([
    [
      'a connection id of undefined',
      () => make(undefined, 'a', socket),
      TypeError,
      'id',
      'got `undefined` (undefined)',
    ],
    ['a connection id of null', () => make(null, 'a', socket), TypeError, 'id', 'got `null` (null)'],
    ['a connection id of NaN', () => make(NaN, 'a', socket), TypeError, 'id', 'got `NaN` (number)'],
    ['an object as a connection id', () => make({}, 'a', socket), TypeError, 'id', 'got `Object` (object)'],
    ['a symbol as a connection id', () => make(Symbol('s'), 'a', socket), TypeError, 'id', '(symbol)'],
    ...notNamespaces.map(([title, value, received]): Refusal => [
      `${title} as the namespace of a connection`,
      () => make('1', value, socket),
      TypeError,
      'namespace',
      received,
    ]),
    [
      'a connection without a socket',
      () => make('1', 'a'),
      TypeError,
      'WebSocket-like',
      'got `undefined` (undefined)',
    ],
    ['null as a socket', () => make('1', 'a', null), TypeError, 'WebSocket-like', 'got `null` (null)'],
    [
      'a URL as a socket',
      () => make('1', 'a', 'ws://a'),
      TypeError,
      'WebSocket-like',
      'got `ws://a` (string)',
    ],
    [
      'a socket without send and without handlers',
      () => make('1', 'a', { close: noop }),
      TypeError,
      'send()',
      'got `Object`',
    ],
    [
      'a socket without close and without handlers',
      () => make('1', 'a', { send: noop }),
      TypeError,
      'close()',
      'got `Object`',
    ],
    [
      'a connection with handlers of null',
      () => make('1', 'a', socket, null),
      TypeError,
      'handlers',
      'got `null` (null)',
    ],
    [
      'a function as the handlers of a connection',
      () => make('1', 'a', socket, noop),
      TypeError,
      'handlers',
      '(function)',
    ],
    [
      'a connection with handlers without close',
      () => make('1', 'a', socket, { send: noop }),
      TypeError,
      'handlers',
      'got `Object`',
    ],
    [
      'a connection with handlers without send',
      () => make('1', 'a', socket, { close: noop }),
      TypeError,
      'handlers',
      'got `Object`',
    ],
  ]);

  test('new Connection checks its arguments before it listens to the socket', () => {
    const untouched = new MemorySocket();
    expect(() => make(undefined, 'a', untouched)).toThrow(TypeError);
    expect(() => make('1', 'a', untouched, {})).toThrow(TypeError);
    expect(untouched.eventNames()).toEqual([]);
  });
});

describe('the methods of a connection', () => {
  const message = 'a string, ArrayBuffer, typed array, Buffer or Blob';
  const json = 'a value that JSON can express';
  const value = anything;
  expectRefusals([
    ...notMessages.flatMap(([title, wrong, received]): Refusal[] => [
      [
        `connection.send of ${title}`,
        ({ connection }) => connection.send(value(wrong)),
        TypeError,
        message,
        received,
      ],
      [
        `connection.sendThenClose of ${title}`,
        ({ connection }) => connection.sendThenClose(value(wrong)),
        TypeError,
        'sendJson()',
        received,
      ],
    ]),
    ...notJson.flatMap(([title, wrong, received]): Refusal[] => [
      [
        `connection.sendJson of ${title}`,
        ({ connection }) => connection.sendJson(wrong),
        TypeError,
        json,
        received,
      ],
      [
        `connection.sendJsonThenClose of ${title}`,
        ({ connection }) => connection.sendJsonThenClose(wrong),
        TypeError,
        json,
        received,
      ],
      [
        `connection.sendError of ${title}`,
        ({ connection }) => connection.sendError(wrong),
        TypeError,
        json,
        received,
      ],
      [
        `connection.sendErrorThenClose of ${title}`,
        ({ connection }) => connection.sendErrorThenClose(wrong),
        TypeError,
        json,
        received,
      ],
    ]),
    ...notClosing.flatMap(([title, args, kind, expected, received]): Refusal[] => {
      const [code, reason] = args as [never, never];
      return [
        [
          `connection.close with ${title}`,
          ({ connection }) => connection.close(code, reason),
          kind,
          expected,
          received,
        ],
        [
          `connection.sendThenClose with ${title}`,
          ({ connection }) => connection.sendThenClose('x', code, reason),
          kind,
          expected,
          received,
        ],
        [
          `connection.sendJsonThenClose with ${title}`,
          ({ connection }) => connection.sendJsonThenClose('x', code, reason),
          kind,
          expected,
          received,
        ],
        [
          `connection.sendErrorThenClose with ${title}`,
          ({ connection }) => connection.sendErrorThenClose('x', code, reason),
          kind,
          expected,
          received,
        ],
        [
          `connection.sendError with ${title}`,
          ({ connection }) => connection.sendError('x', code, reason),
          kind,
          expected,
          received,
        ],
      ];
    }),
    [
      'connection.sendJson of a value whose toJSON throws',
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
      'connection.handleMessage of a number',
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

test('a closed connection checks its arguments too', async () => {
  const { connection } = connectInMemory();
  await connection.close();
  await expect(connection.send(anything(5))).rejects.toThrow(TypeError);
  await expect(connection.close(999)).rejects.toThrow(RangeError);
});
