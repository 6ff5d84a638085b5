import { expect, test } from 'vitest';
import { Connection, type Capabilities } from '../../src/index.js';
import { BunDriver } from '../../src/sockets/bun.js';
import type { Driver } from '../../src/sockets/driver.js';
import { HandlersDriver } from '../../src/sockets/handlers.js';
import { driverOf } from '../../src/sockets/probe.js';
import { StandardDriver } from '../../src/sockets/standard.js';
import { UwsDriver } from '../../src/sockets/uws.js';
import { WsDriver } from '../../src/sockets/ws.js';
import { FakeWsSocket } from '../support/fake-ws-socket.js';
import { connectInMemory } from '../support/memory-socket.js';

const call = (): undefined => undefined;
const MINIMAL = { send: call, close: call };

test('sockets with the same capabilities share one object for them', () => {
  const [one, two] = [connectInMemory('1'), connectInMemory('2')];
  expect(one.connection.capabilities).toBe(two.connection.capabilities);
});

// Every socket without events was taken for one of Bun, whose 0 means that the message was dropped.
test('a message was sent when the send of a plain object without events returns 0', async () => {
  const connection = new Connection('1', 'default', { send: () => 0, close: () => undefined });
  expect(await connection.send('x')).toBe(true);
});

test.each<[kind: string, Kind: new (...args: never[]) => Driver, socket: object]>([
  ['a plain object', StandardDriver, MINIMAL],
  ['an emitter', StandardDriver, { ...MINIMAL, on: call }],
  [
    'an emitter that can cork and publish',
    StandardDriver,
    { ...MINIMAL, on: call, cork: call, publish: call },
  ],
  ['an object that can only cork', StandardDriver, { ...MINIMAL, cork: call }],
  ['an object that can only publish', StandardDriver, { ...MINIMAL, publish: call }],
  ['a server socket of ws', WsDriver, new FakeWsSocket()],
  ['a socket of uWebSockets.js', UwsDriver, { ...MINIMAL, getBufferedAmount: call, end: call, cork: call }],
  ['a socket of Bun', BunDriver, { ...MINIMAL, cork: call, publish: call }],
  ['a newer socket of Bun', BunDriver, { ...MINIMAL, getBufferedAmount: call }],
])('%s is recognized by what it has', (_, Kind, socket) => {
  const driver = driverOf(socket, undefined);
  expect(driver.constructor).toBe(Kind);
  const handlers = { send: call, close: async () => Promise.resolve() };
  const replaced = driverOf(socket, handlers);
  expect(replaced).toBeInstanceOf(HandlersDriver);
  expect(replaced.capabilities).toBe(driver.capabilities);
});

const NOTHING: Capabilities = {
  events: 'owner',
  terminate: false,
  ping: false,
  bufferedAmount: false,
  readyState: false,
  cork: false,
  pause: false,
};

test.each<[members: object, capabilities: Partial<Capabilities>]>([
  [{}, {}],
  [{ on: call }, { events: 'emitter' }],
  [{ addEventListener: call }, { events: 'event-target' }],
  [{ on: call, addEventListener: call }, { events: 'emitter' }],
  [{ on: 'not a function' }, {}],
  [{ terminate: call }, { terminate: true }],
  [{ ping: call }, { ping: true }],
  [{ bufferedAmount: 0 }, { bufferedAmount: true }],
  [{ getBufferedAmount: call }, { bufferedAmount: true }],
  [
    { getBufferedAmount: call, end: call },
    { bufferedAmount: true, terminate: true },
  ],
  [{ readyState: undefined }, { readyState: true }],
  [{ cork: call }, { cork: true }],
  [{ pause: call, resume: call }, { pause: true }],
  [{ pause: call }, {}],
  [{ resume: call }, {}],
])('a socket that also has %o has these capabilities: %o', (members, capabilities) => {
  const connection = new Connection('1', 'default', { ...MINIMAL, ...members });
  expect(connection.capabilities).toEqual({ ...NOTHING, ...capabilities });
  expect(Object.isFrozen(connection.capabilities)).toBe(true);
});

test.each([null, undefined, 'socket', 5, Symbol.iterator])(
  '%o is not a socket, with or without handlers',
  (socket) => {
    const handlers = { send: call, close: call };
    for (const given of [undefined, handlers]) {
      expect(() => driverOf(socket, given)).toThrow(TypeError);
      expect(() => driverOf(socket, given)).toThrow(/^Expected a WebSocket-like object, got /);
    }
  },
);

test.each([{}, { send: call }, { close: call }, { send: 'text', close: call }])(
  '%o needs handlers that replace what it lacks',
  (socket) => {
    expect(() => driverOf(socket, undefined)).toThrow(
      /^Expected a socket with send\(\) and close\(\), or handlers that replace them, got /,
    );
    expect(driverOf(socket, { send: call, close: call })).toBeInstanceOf(HandlersDriver);
  },
);
