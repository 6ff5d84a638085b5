import { expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { byteLengthOf, encodeError, likeMessage, type WebSocketMessage } from '../../src/wire/message.js';
import { connectInMemory, MemorySocket } from '../support/memory-socket.js';
import { poolInMemory } from '../support/pool-of.js';

const ONE_SENT = { recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 };
const ascending = Uint8Array.from({ length: 16 }, (_, index) => index);
const failing = {
  toJSON: () => {
    throw new Error('no JSON of me');
  },
};

function connectRecorded() {
  const { connection } = connectInMemory();
  const received: unknown[][] = [];
  connection.on('message', (...args) => received.push(args));
  return { connection, received };
}

test.each<[string, unknown]>([
  ['a Buffer', Buffer.from([2, 3, 4, 5])],
  ['an ArrayBuffer', ascending.slice(2, 6).buffer],
  ['a Uint16Array with an offset', new Uint16Array(ascending.buffer, 2, 2)],
  ['a DataView with an offset', new DataView(ascending.buffer, 2, 4)],
  ['fragments', [Buffer.from([2, 3]), Buffer.from([4, 5])]],
])('the bytes of %s arrive as a message, as binary or as text', (_, data) => {
  const { connection, received } = connectRecorded();
  connection.handleMessage(data, true);
  connection.handleMessage(data, false);
  expect(received).toEqual([
    [Buffer.from([2, 3, 4, 5]), true],
    ['\u0002\u0003\u0004\u0005', false],
  ]);
});

test('bytes that arrive are handed on unchanged', () => {
  const { connection, received } = connectRecorded();
  const bytes = Uint8Array.of(1, 2);
  connection.handleMessage(bytes);
  expect(received[0]![0]).toBe(bytes);
});

test('bytes that a socket lends are copied, so that a later change does not affect them', () => {
  const { connection, received } = connectRecorded();
  const lent = Uint8Array.of(1, 2);
  connection.handleMessage(lent.buffer);
  lent.fill(0);
  expect(received[0]![0]).toEqual(Buffer.of(1, 2));
});

test('text that was marked as binary arrives as its bytes', () => {
  const { connection, received } = connectRecorded();
  connection.handleMessage('ä', true);
  expect(received).toEqual([[Buffer.from('ä'), true]]);
});

test.each<[what: string, data: unknown, bytes: number]>([
  ['text, which is UTF-8', 'ä€', 5],
  ['a Buffer', Buffer.alloc(3), 3],
  ['an ArrayBuffer', new ArrayBuffer(7), 7],
  ['a view of larger elements', new Uint16Array(4), 8],
  ['a DataView', new DataView(new ArrayBuffer(8), 2, 5), 5],
  ['a Blob', new Blob(['abc', 'ä']), 5],
  ['fragments, which are added up', [Buffer.alloc(3), new ArrayBuffer(4), 'ä'], 9],
  ['no fragments', [], 0],
  ['a value that is not a message', {}, 0],
])('a rate limit counts the bytes of %s', (_, data, bytes) => {
  expect(byteLengthOf(data)).toBe(bytes);
});

test('an error about a message says what was expected and what to do', async () => {
  const { connection } = connectInMemory();
  expect(() => connection.handleMessage(1)).toThrow(
    new TypeError('Expected a message of text or bytes, got `1` (number)'),
  );
  await expect(connection.send(1 as never)).rejects.toThrow(
    new TypeError(
      'Expected a string, ArrayBuffer, typed array, Buffer or Blob, got `1` (number); use sendJson() to send a value as JSON',
    ),
  );
  await expect(connection.sendJson(undefined)).rejects.toThrow(
    new TypeError('Expected a value that JSON can express, got `undefined` (undefined)'),
  );
});

test('a message that is neither text nor bytes is a TypeError, unless the connection is closing', () => {
  const { connection } = connectInMemory();
  for (const unreadable of [{}, 1, null, Promise.resolve('x')])
    expect(() => connection.handleMessage(unreadable)).toThrow(TypeError);
  void connection.close();
  expect(() => connection.handleMessage({})).not.toThrow();
});

test.each<[string, unknown, string]>([
  ['text', 'bye', 'bye'],
  ['a Buffer', Buffer.from('bye'), 'bye'],
  ['an ArrayBuffer', Uint8Array.from(Buffer.from('bye')).buffer, 'bye'],
  ['null', null, ''],
  ['something else', 1, ''],
])('the reason of a close may be %s', (_, reason, text) => {
  const { connection } = connectInMemory();
  const closes: unknown[][] = [];
  connection.on('close', (...args) => closes.push(args));
  connection.handleClose(4000, reason);
  expect(closes).toEqual([[4000, text]]);
});

test('the error for a value without JSON keeps what JSON.stringify threw as its cause', async () => {
  const { connection } = connectInMemory();
  await expect(connection.sendJson(failing)).rejects.toMatchObject({
    message: expect.stringContaining('no JSON of me') as string,
    cause: new Error('no JSON of me'),
  });
});

test('the error for a value whose toJSON throws something that is not an Error tells what it was', async () => {
  const { connection } = connectInMemory();
  const value = {
    toJSON: () => {
      // eslint-disable-next-line @typescript-eslint/only-throw-error -- that is the point
      throw null;
    },
  };
  await expect(connection.sendJson(value)).rejects.toThrow(
    new TypeError(
      'Expected a value that JSON can express, got `Object` (object): Something that is not an Error was thrown: null',
    ),
  );
});

test('a value is encoded once, however many connections get it', async () => {
  let encodings = 0;
  const value = {
    toJSON: () => {
      encodings++;
      return 'once';
    },
  };
  const { pool, members } = poolInMemory(3);
  expect(await pool.broadcastJsonMessage('default', value)).toMatchObject({ sent: 3 });
  expect(encodings).toBe(1);
  expect(members.map(({ socket }) => socket.sent)).toEqual([['"once"'], ['"once"'], ['"once"']]);
});

test('handlers get messages that a socket would refuse', async () => {
  const received: unknown[] = [];
  const connection = new Connection<string, unknown>(
    '1',
    'default',
    {},
    { send: (message) => void received.push(message), close: () => undefined },
  );
  const values = [1, null, undefined, { x: 1 }, Symbol.iterator];
  for (const value of values) expect(await connection.send(value)).toBe(true);
  expect(received).toEqual(values);
});

test('a pool that connections with handlers have joined checks no message any more', async () => {
  const pool = new ConnectionsPool<unknown>();
  const taken: unknown[] = [];
  const handlers = { send: (message: unknown) => void taken.push(message), close: () => undefined };
  const strict = [1, 2].map((id) => new Connection<string, unknown>(`${id}`, 'n', new MemorySocket()));
  await expect(pool.broadcastMessage('n', { any: 'thing' })).rejects.toThrow(TypeError);
  for (const connection of strict) {
    await pool.newConnection(connection);
    await expect(pool.broadcastMessage('n', { any: 'thing' })).rejects.toThrow(TypeError);
  }
  await pool.newConnection(new Connection<string, unknown>('3', 'n', new MemorySocket(), handlers));
  for (const connection of strict) await pool.removeConnection(connection);
  expect(await pool.broadcastMessage('n', { any: 'thing' })).toEqual(ONE_SENT);
  expect(taken).toEqual([{ any: 'thing' }]);
});

test('a pool stays lenient when its last connection with handlers has left', async () => {
  const pool = new ConnectionsPool<unknown>();
  const handled = new Connection<string, unknown>('1', 'n', new MemorySocket(), {
    send: () => undefined,
    close: () => undefined,
  });
  await pool.newConnection(new Connection<string, unknown>('2', 'n', new MemorySocket()));
  await pool.newConnection(handled);
  await pool.removeConnection(handled);
  expect(await pool.broadcastMessage('n', { any: 'thing' })).toEqual(ONE_SENT);
});

test.each<[string, WebSocketMessage]>(
  [
    Buffer.from([1, 2, 3, 4]),
    Uint8Array.of(1, 2, 3, 4),
    Uint16Array.of(1, 2),
    Float32Array.of(1),
    BigInt64Array.of(1n),
    new DataView(Uint8Array.of(1, 2, 3, 4).buffer),
    Uint8Array.of(1, 2, 3, 4).buffer,
  ].map((message) => [message.constructor.name, message]),
)('a copy of a message for handlers is of the same type: %s', (_, message) => {
  const binary = message as ArrayBuffer | ArrayBufferView;
  const { byteLength } = binary;
  const bytes = ArrayBuffer.isView(binary)
    ? Buffer.from(binary.buffer, binary.byteOffset, byteLength)
    : Buffer.from(binary);
  // At an odd offset, at which most views could not begin.
  const copy = likeMessage(binary, Buffer.concat([Buffer.of(9), bytes]).subarray(1));
  expect(copy.constructor).toBe(binary.constructor);
  expect(copy).toEqual(binary);
});

test('a copy of a typed array of a subclass is a plain typed array of its element type', () => {
  class Samples extends Uint16Array {
    override get [Symbol.toStringTag](): 'Uint16Array' {
      return 'Samples' as 'Uint16Array';
    }
  }
  const copy = likeMessage(new Samples([1, 2]), Buffer.from(Uint16Array.of(1, 2).buffer));
  expect(copy.constructor).toBe(Uint16Array);
  expect(copy).toEqual(Uint16Array.of(1, 2));
});

// An Error was sent as `{}`, because its message is not enumerable.
test.each([
  ['its message', new Error('no such room'), '{"message":"no such room"}'],
  [
    'its own fields',
    Object.assign(new Error('full'), { code: 'E_FULL' }),
    '{"message":"full","code":"E_FULL"}',
  ],
  ['neither its stack nor its cause', new TypeError('bad', { cause: 'secret' }), '{"message":"bad"}'],
  ['what its toJSON says', Object.assign(new Error('x'), { toJSON: () => ({ code: 5 }) }), '{"code":5}'],
])('an Error is encoded with %s', (_, error, text) => {
  expect(encodeError(error)).toBe(text);
});
