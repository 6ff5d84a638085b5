import { expect, test } from 'vitest';
import { ConnectionsPool, type WebSocketMessage } from '../../src/index.js';
import { hostileStrings, wellFormed } from '../support/hostile-strings.js';
import { Loopback } from '../support/loopback.js';
import { poolOf } from '../support/pool-of.js';

test.each(hostileStrings)('%s is an ordinary message', async (_title, text) => {
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const { client, connection } = await loopback.connect('1');
  await pool.newConnection(connection);
  // Characters that UTF-8 cannot express become U+FFFD (WHATWG Encoding §4.2), as in any WebSocket.
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

async function connectMember() {
  const { pool, members } = await poolOf(1);
  return { ...members[0], pool };
}

const ascending = Uint8Array.from({ length: 16 }, (_, index) => index);

const cycle: Record<string, unknown> = {};
cycle['self'] = cycle;
const failing = {
  toJSON: () => {
    throw new Error('no JSON of me');
  },
};

test.each<[string, WebSocketMessage, string | Buffer]>([
  ['text', 'grüße 👋', 'grüße 👋'],
  ['empty text', '', ''],
  ['a lone surrogate, as the replacement character', 'a\ud800b', 'a\ufffdb'],
  ['a Buffer', Buffer.from([0, 255]), Buffer.from([0, 255])],
  ['an empty Buffer', Buffer.alloc(0), Buffer.alloc(0)],
  ['a Buffer of the shared pool', Buffer.from('pooled'), Buffer.from('pooled')],
  ['a Uint8Array with an offset', ascending.subarray(3, 6), Buffer.from([3, 4, 5])],
  ['a Uint16Array with an offset', new Uint16Array(ascending.buffer, 2, 2), Buffer.from([2, 3, 4, 5])],
  ['a Float32Array', Float32Array.of(1.5, -2), Buffer.from(Float32Array.of(1.5, -2).buffer)],
  ['a BigInt64Array', BigInt64Array.of(-1n), Buffer.alloc(8, 255)],
  ['a DataView with an offset', new DataView(ascending.buffer, 5, 2), Buffer.from([5, 6])],
  ['an ArrayBuffer', ascending.slice(0, 4).buffer, Buffer.from([0, 1, 2, 3])],
  ['an empty ArrayBuffer', new ArrayBuffer(0), Buffer.alloc(0)],
  ['a view of shared memory', new Uint8Array(new SharedArrayBuffer(2)).fill(7), Buffer.from([7, 7])],
  ['a Blob', new Blob(['blob']), Buffer.from('blob')],
  ['an empty Blob', new Blob([]), Buffer.alloc(0)],
])('%s is sent privately and as a broadcast, as text or as binary', async (_, message, arrives) => {
  const { client, connection, pool } = await connectMember();
  expect(await connection.send(message)).toBe(true);
  expect(await pool.broadcastMessage('default', message)).toMatchObject({ sent: 1 });
  expect(await pool.send('default', 'a', message)).toBe(true);
  await connection.close();
  await client.closed;
  expect(client.inbox).toEqual([arrives, arrives, arrives]);
});

test.each<[string, unknown]>([
  ['a SharedArrayBuffer', new SharedArrayBuffer(1)],
  ['a number', 1],
  ['NaN', NaN],
  ['a bigint', 1n],
  ['a boolean', true],
  ['null', null],
  ['undefined', undefined],
  ['an object', { x: 1 }],
  ['an array', ['x']],
  ['a symbol', Symbol('x')],
  ['a function', () => 'x'],
  ['a String object', Object('x')],
  ['a promise', Promise.resolve('x')],
  ['a date', new Date(0)],
  ['an object without a prototype', Object.create(null)],
])('%s is a TypeError that names sendJson, and nothing is sent', async (_, value) => {
  const { client, connection, pool } = await connectMember();
  const message = value as string;
  for (const call of [
    () => connection.send(message),
    () => connection.sendThenClose(message),
    () => pool.send('default', 'a', message),
    () => pool.sendThenClose('default', 'a', message),
    () => pool.broadcastMessage('default', message),
  ]) {
    const error: unknown = await call().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(TypeError);
    expect((error as TypeError).message).toContain('sendJson');
  }
  expect(connection.closed).toBe(false);
  await client.exactly(0);
});

test.each<[unknown, string]>([
  [null, 'null'],
  [true, 'true'],
  [0, '0'],
  ['', '""'],
  ['text "quoted"', '"text \\"quoted\\""'],
  [NaN, 'null'],
  [-Infinity, 'null'],
  [[undefined, () => 1], '[null,null]'],
  [{ a: undefined, b: 1 }, '{"b":1}'],
  [new Date(0), '"1970-01-01T00:00:00.000Z"'],
  [{ toJSON: () => 'own' }, '"own"'],
  [new Map([[1, 2]]), '{}'],
  ['\ud800', '"\\ud800"'],
  [JSON.parse('{"__proto__":1}'), '{"__proto__":1}'],
])('%o is sent as the JSON text %s', async (value, text) => {
  const { client, connection, pool } = await connectMember();
  expect(await connection.sendJson(value)).toBe(true);
  expect(await pool.sendJson('default', 'a', value)).toBe(true);
  expect(await pool.broadcastJsonMessage('default', value)).toMatchObject({ sent: 1 });
  expect(await client.exactly(3)).toEqual([text, text, text]);
});

test.each<[string, unknown]>([
  ['undefined', undefined],
  ['a function', () => 1],
  ['a symbol', Symbol('x')],
  ['a cycle', cycle],
  ['a BigInt', 1n],
  ['a BigInt inside', { amount: 1n }],
  ['a toJSON that throws', failing],
  ['a toJSON that gives undefined', { toJSON: () => undefined }],
])('%s cannot be JSON: it is a TypeError, and nothing is sent', async (_, value) => {
  const { client, connection, pool } = await connectMember();
  for (const call of [
    () => connection.sendJson(value),
    () => connection.sendError(value),
    () => connection.sendJsonThenClose(value),
    () => connection.sendErrorThenClose(value),
    () => pool.sendJson('default', 'a', value),
    () => pool.sendJsonThenClose('default', 'a', value),
    () => pool.broadcastJsonMessage('default', value),
    () => pool.broadcastError('default', value),
    () => pool.broadcastError('default', value, 4000),
  ]) {
    await expect(call()).rejects.toThrow(TypeError);
  }
  expect(connection.closed).toBe(false);
  await client.exactly(0);
});
