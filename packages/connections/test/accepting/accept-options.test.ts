import { createServer } from 'node:http';
import { expect, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { ConnectionsPool } from '../../src/index.js';
import { acceptAny, anybody } from '../support/accepting.js';

const server = createServer();
const valid = {
  server,
  webSocketServer: new WebSocketServer({ noServer: true }),
  pool: new ConnectionsPool(),
  authenticate: anybody,
};

/** As from JavaScript. */
const accept = (options: unknown) => () => acceptAny(options as never);

test.each<[string, object, new () => Error, string]>([
  ['an unknown option', { origin: [] }, TypeError, 'Unknown option `origin`'],
  ['no server', { server: undefined }, TypeError, 'server to have on()'],
  ['no WebSocketServer', { webSocketServer: {} }, TypeError, 'webSocketServer to have handleUpgrade()'],
  [
    'a WebSocketServer with a server of its own',
    { webSocketServer: new WebSocketServer({ server: createServer() }) },
    TypeError,
    'noServer: true',
  ],
  ['no pool', { pool: undefined }, TypeError, 'pool to have newConnection()'],
  [
    'a pool that cannot be told of errors',
    { pool: { draining: false, newConnection: () => Promise.resolve() } },
    TypeError,
    'pool to have Symbol(nodejs.rejection)()',
  ],
  ['no authenticate', { authenticate: undefined }, TypeError, 'authenticate to be a function'],
  [
    'a createConnection that is none',
    { createConnection: {} },
    TypeError,
    'createConnection to be a function',
  ],
  ['a path that is none', { path: 5 }, TypeError, 'path to be a function, or a string'],
  ['a path without a slash', { path: 'ws' }, TypeError, "'/socket'"],
  ['a path with a query', { path: '/ws?a=1' }, TypeError, "'/socket'"],
  ['a path with a fragment, which no client sends', { path: '/ws#a' }, TypeError, "'/socket'"],
  ['one origin without a list', { origins: 'https://a.example' }, TypeError, 'origins to be an array'],
  ['an origin with a path', { origins: ['https://a.example/'] }, TypeError, "'https://app.example'"],
  ['a timeout of 0', { timeout: 0 }, RangeError, 'timeout to be at least 1'],
  ['a timeout that is text', { timeout: '5s' }, TypeError, 'timeout to be a number'],
  ['a timeout that no timer can hold', { timeout: 2 ** 31 }, RangeError, 'timeout to be at least 1'],
  ['maxConnections of 0', { maxConnections: 0 }, RangeError, 'maxConnections to be an integer'],
  ['maxConnections as text', { maxConnections: '5' }, TypeError, 'maxConnections to be a number'],
  ['maxPerNamespace of NaN', { maxPerNamespace: NaN }, RangeError, 'maxPerNamespace to be an integer'],
  ['maxPending of 1.5', { maxPending: 1.5 }, RangeError, 'maxPending to be an integer'],
  ['maxPer as a number', { maxPer: 5 }, TypeError, 'maxPer to be an object'],
  ['maxPer without a key', { maxPer: { limit: 1 } }, TypeError, 'maxPer.key to be a function'],
  ['maxPer without a limit', { maxPer: { key: () => 'a' } }, TypeError, 'maxPer.limit to be a number'],
  [
    'maxPer with a typing error',
    { maxPer: { key: () => 'a', max: 1 } },
    TypeError,
    'Valid options: key, limit',
  ],
  ['another refuseWith', { refuseWith: 'ws' }, TypeError, "refuseWith to be 'http' or 'close'"],
  ['a retryAfter of -1', { retryAfter: -1 }, RangeError, 'retryAfter to be a whole number'],
])('%s throws at once, and leaves no listener', (_, wrong, type, message) => {
  expect(accept({ ...valid, ...wrong })).toThrow(type);
  expect(accept({ ...valid, ...wrong })).toThrow(message);
  expect(server.listenerCount('upgrade')).toBe(0);
});

test('acceptConnections() without options throws', () => {
  expect(accept(undefined)).toThrow(TypeError);
  expect(accept(null)).toThrow(TypeError);
});

test('every option of acceptConnections may be undefined', () => {
  const names = ['path', 'origins', 'createConnection', 'timeout', 'maxConnections', 'maxPerNamespace'];
  const undefinedOptions = [...names, 'maxPending', 'maxPer', 'refuseWith', 'retryAfter'].map((name) => [
    name,
    undefined,
  ]);
  acceptAny({ ...valid, ...(Object.fromEntries(undefinedOptions) as object) }).detach();
  expect(server.listenerCount('upgrade')).toBe(0);
});
