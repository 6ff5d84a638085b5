import { describe, expect, test } from 'vitest';
import { Connection, ConnectionsPool, type WebSocketMessage } from '../src/index.js';
import { Loopback } from './support/loopback.js';
import { connectInMemory } from './support/memory-socket.js';

/** The largest message that is copied when it is sent, in bytes. */
const COPIED_BYTES = 64 * 1024;

async function connectMember() {
  const member = await (await Loopback.start()).connect('1');
  const pool = new ConnectionsPool();
  await pool.newConnection(member.connection);
  return { ...member, pool };
}

const ascending = Uint8Array.from({ length: 16 }, (_, index) => index);

describe('what goes out', () => {
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
  ])('%s, alone and to all, as text or as binary', async (_, message, arrives) => {
    const { client, connection, pool } = await connectMember();
    expect(await connection.send(message)).toBe(true);
    expect(await pool.broadcastMessage('default', message)).toMatchObject({ sent: 1 });
    expect(await pool.send('default', '1', message)).toBe(true);
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
      () => pool.send('default', '1', message),
      () => pool.sendThenClose('default', '1', message),
      () => pool.broadcastMessage('default', message),
    ]) {
      const error: unknown = await call().catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(TypeError);
      expect((error as TypeError).message).toContain('sendJson');
    }
    expect(connection.closed).toBe(false);
    await client.exactly(0);
  });
});

describe('what comes in', () => {
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
  ])('%s is the bytes of a message, as binary or as text', (_, data) => {
    const { connection, received } = connectRecorded();
    connection.handleMessage(data, true);
    connection.handleMessage(data, false);
    expect(received).toEqual([
      [Buffer.from([2, 3, 4, 5]), true],
      ['\u0002\u0003\u0004\u0005', false],
    ]);
  });

  test('bytes are handed on as they are', () => {
    const { connection, received } = connectRecorded();
    const bytes = Uint8Array.of(1, 2);
    connection.handleMessage(bytes);
    expect(received[0]![0]).toBe(bytes);
  });

  test('a message that nobody listens for is not even read', () => {
    const { connection } = connectInMemory();
    const unreadable = new Blob(['x']);
    expect(() => connection.handleMessage(unreadable)).not.toThrow();
    connection.on('message', () => undefined);
    expect(() => connection.handleMessage(unreadable)).toThrow(TypeError);
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
});

describe('a buffer that the caller uses again', () => {
  // Frames are written at the end of the turn: what the caller wrote into the buffer meanwhile went out instead.
  test.each([1, 125, 126, 65_535, COPIED_BYTES])('%i bytes go out as they were', async (length) => {
    const { client, connection, pool } = await connectMember();
    const buffer = Buffer.alloc(length, 'a');
    const sent = [connection.send(buffer), pool.broadcastMessage('default', buffer)];
    buffer.fill('b');
    sent.push(connection.send(buffer), pool.broadcastMessage('default', buffer.buffer));
    buffer.fill('c');
    await Promise.all(sent);
    const [first, second, third, fourth] = (await client.exactly(4)) as Buffer[];
    const [as, bs] = [Buffer.alloc(length, 'a'), Buffer.alloc(length, 'b')];
    expect(first!.equals(as)).toBe(true);
    expect(second!.equals(as)).toBe(true);
    expect(third!.equals(bs)).toBe(true);
    expect(fourth!.equals(bs)).toBe(true);
  });

  test('goes out as it was also through a socket that the library knows nothing of', async () => {
    const { socket, connection } = connectInMemory();
    const pool = new ConnectionsPool();
    await pool.newConnection(connection);
    const buffer = Buffer.alloc(10, 'a');
    const sent = pool.broadcastMessage('default', buffer);
    buffer.fill('b');
    await sent;
    expect(socket.sent.map(String)).toEqual(['aaaaaaaaaa']);
  });

  test('larger ones arrive whole, when they are left alone until the promise resolves', async () => {
    const { client, connection, pool } = await connectMember();
    const large = Buffer.alloc(COPIED_BYTES + 1, 'a');
    expect(await connection.send(large)).toBe(true);
    expect(await pool.broadcastMessage('default', large)).toMatchObject({ sent: 1 });
    const received = (await client.exactly(2)) as Buffer[];
    expect(received.every((message) => message.equals(large))).toBe(true);
  });
});

describe('JSON', () => {
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
  ])('%j goes out as %s', async (value, text) => {
    const { client, connection, pool } = await connectMember();
    expect(await connection.sendJson(value)).toBe(true);
    expect(await pool.sendJson('default', '1', value)).toBe(true);
    expect(await pool.broadcastJsonMessage('default', value)).toMatchObject({ sent: 1 });
    expect(await client.exactly(3)).toEqual([text, text, text]);
  });

  const cycle: Record<string, unknown> = {};
  cycle['self'] = cycle;
  const failing = {
    toJSON: () => {
      throw new Error('no JSON of me');
    },
  };

  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['a function', () => 1],
    ['a symbol', Symbol('x')],
    ['a cycle', cycle],
    ['a BigInt', 1n],
    ['a BigInt inside', { amount: 1n }],
    ['a toJSON that throws', failing],
    ['a toJSON that gives undefined', { toJSON: () => undefined }],
  ])('%s is a TypeError, and nothing is sent', async (_, value) => {
    const { client, connection, pool } = await connectMember();
    for (const call of [
      () => connection.sendJson(value),
      () => connection.sendError(value),
      () => connection.sendJsonThenClose(value),
      () => connection.sendErrorThenClose(value),
      () => pool.sendJson('default', '1', value),
      () => pool.sendJsonThenClose('default', '1', value),
      () => pool.broadcastJsonMessage('default', value),
      () => pool.broadcastError('default', value),
      () => pool.broadcastError('default', value, 4000),
    ]) {
      await expect(call()).rejects.toThrow(TypeError);
    }
    expect(connection.closed).toBe(false);
    await client.exactly(0);
  });

  test('the error keeps what JSON.stringify threw as its cause', async () => {
    const { connection } = connectInMemory();
    await expect(connection.sendJson(failing)).rejects.toMatchObject({
      message: expect.stringContaining('no JSON of me') as string,
      cause: new Error('no JSON of me'),
    });
  });

  test('a value is encoded once, however many get it', async () => {
    let encodings = 0;
    const value = {
      toJSON: () => {
        encodings++;
        return 'once';
      },
    };
    const pool = new ConnectionsPool();
    const members = ['1', '2', '3'].map((id) => connectInMemory(id));
    for (const { connection } of members) await pool.newConnection(connection);
    expect(await pool.broadcastJsonMessage('default', value)).toMatchObject({ sent: 3 });
    expect(encodings).toBe(1);
    expect(members.map(({ socket }) => socket.sent)).toEqual([['"once"'], ['"once"'], ['"once"']]);
  });
});

test('handlers get what a socket would not take', async () => {
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
