import { describe, expect, test } from 'vitest';
import type { ConnectionsPool } from '../src/index.js';
import { MemorySocket } from './support/memory-socket.js';
import {
  anything,
  expectRefusals,
  expectUntouched,
  refusalFixture,
  registryOf,
  type Fixture,
  type Kind,
  type Refusal,
} from './support/refusals.js';
import {
  notClosing,
  notIds,
  notIterables,
  notJson,
  notMessages,
  notNamespaces,
} from './support/wrong-values.js';

describe('the methods of a pool', () => {
  const strangers: readonly [title: string, value: unknown, received: string][] = [
    ['undefined', undefined, 'got `undefined` (undefined)'],
    ['null', null, 'got `null` (null)'],
    ['an id', 'first', 'got `first` (string)'],
    ['a socket', new MemorySocket(), 'got `Object` (object)'],
    ['what looks like a connection', { id: 'x', namespace: 'default', send: null }, 'got `Object` (object)'],
  ];
  const value = anything;
  /** Every method that takes a namespace. */
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
  /** Every method that takes the id of one connection. */
  const ofId: Record<string, (pool: ConnectionsPool, id: never) => unknown> = {
    send: (pool, id) => pool.send('default', id, 'x'),
    sendJson: (pool, id) => pool.sendJson('default', id, 'x'),
    sendError: (pool, id) => pool.sendError('default', id, 'x'),
    sendThenClose: (pool, id) => pool.sendThenClose('default', id, 'x'),
    sendJsonThenClose: (pool, id) => pool.sendJsonThenClose('default', id, 'x'),
    sendErrorThenClose: (pool, id) => pool.sendErrorThenClose('default', id, 'x'),
    close: (pool, id) => pool.close('default', id),
  };
  /** Every method that takes a message as it is. */
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
    'closeAll with options': (pool, exceptions) => pool.closeAll('default', { exceptions }),
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
        `pool.newConnection of ${title}`,
        ({ pool }) => pool.newConnection(value(wrong)),
        TypeError,
        'a Connection',
        received,
      ],
      [
        `pool.removeConnection of ${title}`,
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
        `pool.${name} with ${title} as the namespace`,
        ({ pool }) => call(pool, value(wrong)),
        TypeError,
        'namespace to be a string',
        received,
      ]);
    }
  }
  // They resolved `false`, and exceptions of `[undefined]` excepted nobody: a mistake looked like a client that has gone.
  for (const [title, wrong, received] of notIds) {
    for (const [name, call] of Object.entries(ofId)) {
      const run = ({ pool }: Fixture): unknown => call(pool, value(wrong));
      rows.push([`pool.${name} with ${title} as the id`, run, TypeError, 'id to be a string', received]);
    }
    for (const [name, call] of Object.entries(ofExceptions)) {
      const run = ({ pool }: Fixture): unknown => call(pool, value(['first', wrong]));
      const message = 'each of exceptions to be a string, a number or a bigint';
      rows.push([`pool.${name} with ${title} among its exceptions`, run, TypeError, message, received]);
    }
  }
  for (const [title, wrong, received] of notMessages) {
    for (const [name, call] of Object.entries(ofMessage)) {
      rows.push([
        `pool.${name} of ${title}`,
        ({ pool }) => call(pool, value(wrong)),
        TypeError,
        'sendJson()',
        received,
      ]);
    }
  }
  for (const [title, wrong, received] of notJson) {
    for (const [name, call] of Object.entries(ofJson)) {
      rows.push([`pool.${name} of ${title}`, ({ pool }) => call(pool, wrong), TypeError, 'JSON', received]);
    }
  }
  for (const [title, [code, reason], kind, expected, received] of notClosing) {
    for (const [name, call] of Object.entries(ofClose)) {
      const run = ({ pool }: Fixture): unknown => call(pool, value(code), value(reason));
      rows.push([`pool.${name} with ${title}`, run, kind, expected, received]);
    }
  }
  for (const [title, wrong, received] of notIterables) {
    for (const [name, call] of Object.entries(ofExceptions)) {
      rows.push([
        `pool.${name} with ${title} as exceptions`,
        ({ pool }) => call(pool, value(wrong)),
        TypeError,
        'exceptions to be an iterable',
        received,
      ]);
    }
  }
  for (const [title, rate, kind, received] of rates) {
    rows.push([
      `pool.drainConnections with ${title}`,
      ({ pool }) => pool.drainConnections(value(rate)),
      kind,
      'maxPerSecond',
      received,
    ]);
    if (rate === null) continue;
    rows.push([
      `pool.drainConnections with ${title} in its options`,
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
      `pool.removeConnection with ${title} as the callback`,
      ({ pool, connection }) => pool.removeConnection(connection, value(wrong)),
      TypeError,
      'onEmptyNamespace to be a function',
      received,
    ]);
  }
  expectRefusals(rows);

  test('a broadcast whose exceptions throw while they are read sends nothing', async () => {
    const fixture = await refusalFixture();
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

  test('an unknown id has no connection, and asking for it is not an error', async () => {
    const fixture = await refusalFixture();
    const before = registryOf(fixture);
    const { pool } = fixture;
    for (const wrong of [5, 10n, '', '__proto__', 'FIRST']) {
      await expect(pool.send('default', anything(wrong), 'x')).resolves.toBe(false);
      await expect(pool.sendJson('default', anything(wrong), 'x')).resolves.toBe(false);
      await expect(pool.sendError('default', anything(wrong), 'x')).resolves.toBe(false);
      await expect(pool.sendThenClose('default', anything(wrong), 'x')).resolves.toBe(false);
      await expect(pool.close('default', anything(wrong))).resolves.toBeUndefined();
      expect(pool.getConnection('default', anything(wrong))).toBeUndefined();
      await expect(pool.broadcastMessage('nowhere', 'x', [anything(wrong)])).resolves.toMatchObject({
        recipients: 0,
      });
    }
    for (const [, wrong] of notIds) expect(pool.getConnection('default', anything(wrong))).toBeUndefined();
    await expectUntouched(fixture, before);
  });
});
