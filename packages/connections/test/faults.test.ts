import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket, type ServerOptions } from 'ws';
import { Connection, ConnectionsPool } from '../src/index.js';
import { Loopback, type Client } from './support/loopback.js';
import { MemorySocket } from './support/memory-socket.js';
import { Random } from './support/random.js';
import { WireClient } from './support/wire.js';

/** How many connections come and go; a soak raises it. */
const CYCLES = Number(process.env['FAULT_CYCLES'] ?? 300);

const uncaught: unknown[] = [];
const collect = (reason: unknown): void => void uncaught.push(reason);

beforeEach(() => {
  process.on('unhandledRejection', collect);
  process.on('uncaughtException', collect);
});
afterEach(async () => {
  // Node tells of a rejection that nobody took at the end of a turn.
  for (let turn = 0; turn < 3; turn++) await nextTurn();
  process.off('unhandledRejection', collect);
  process.off('uncaughtException', collect);
  expect(uncaught.splice(0)).toEqual([]);
});

/** The registry, its counters and what broadcasts reach agree, and nobody is in it who is gone. */
async function expectConsistent(pool: ConnectionsPool, size: number): Promise<void> {
  const stats = pool.stats();
  expect(stats).toMatchObject({ connections: size, namespaces: pool.connections.size });
  let sum = 0;
  for (const [namespace, members] of pool.connections) {
    expect(members.size).toBeGreaterThan(0);
    sum += members.size;
    for (const [id, connection] of members) {
      expect(connection).toMatchObject({ id, namespace, closed: false });
    }
    const result = await pool.broadcastMessage(namespace, 'probe');
    expect(result).toEqual({ recipients: members.size, sent: members.size, dropped: 0, failed: 0 });
  }
  expect(sum).toBe(size);
}

/** A pool with a well-behaved member, whom no fault of another may disturb. */
async function start(options: ServerOptions = {}) {
  const loopback = await Loopback.start(options);
  const pool = new ConnectionsPool({ closeTimeout: 300 });
  const errors: Error[] = [];
  pool.on('error', (error) => errors.push(error));
  const bystander = await loopback.connect('bystander');
  await pool.newConnection(bystander.connection);

  const joinRaw = async () => {
    const wire = await WireClient.connect(loopback);
    const connection = new Connection('faulty', 'default', wire.socket);
    // Not `once`, which an error would reject.
    const closed = new Promise((resolve) => {
      connection.on('close', (code, reason) => resolve([code, reason]));
    });
    await pool.newConnection(connection);
    return { wire, connection, closed };
  };

  const expectUndisturbed = async (): Promise<void> => {
    await expectConsistent(pool, 1);
    await pool.send('default', 'bystander', 'private');
    const messages = [];
    while (messages.at(-1) !== 'private') messages.push(await bystander.client.next());
    await bystander.client.roundTrip();
    expect(bystander.client.inbox).toEqual([]);
  };
  return { loopback, pool, errors, bystander, joinRaw, expectUndisturbed };
}

/** A frame as a client sends it: masked, here with zeros, which change nothing. */
function frame(opcode: number, payload: string | Buffer = '', { fin = true, length = -1 } = {}): Buffer {
  const body = Buffer.from(payload as string);
  const size = length < 0 ? body.length : length;
  const head =
    size < 126 ? Buffer.from([0, 0x80 | size]) : Buffer.from([0, 0x80 | 126, size >> 8, size & 0xff]);
  head[0] = (fin ? 0x80 : 0) | opcode;
  return Buffer.concat([head, Buffer.alloc(4), body]);
}

const [CONTINUATION, TEXT, BINARY, CLOSE, PING] = [0, 1, 2, 8, 9];
const closeFrame = (code: number, reason = ''): Buffer =>
  frame(CLOSE, Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)]));

describe('a peer', () => {
  test('that stops reading and then vanishes is gone with 1006', async () => {
    const { pool, joinRaw, expectUndisturbed } = await start();
    const { wire, connection, closed } = await joinRaw();
    wire.client.pause();
    const sends: Promise<boolean>[] = [];
    while (connection.bufferedAmount < 4_000_000) {
      sends.push(connection.send('x'.repeat(100_000)));
      await nextTurn();
    }
    wire.client.destroy();
    expect(await closed).toEqual([1006, '']);
    expect(connection.bufferedAmount).toBe(0);
    expect(await Promise.all(sends)).toEqual(sends.map(() => true));
    expect(await connection.send('late')).toBe(false);
    expect(pool.getConnection('default', 'faulty')).toBeUndefined();
    await expectUndisturbed();
  });

  test('that ends its side without a close frame is gone with 1006', async () => {
    const { joinRaw, expectUndisturbed } = await start();
    const { wire, closed } = await joinRaw();
    wire.client.allowHalfOpen = true;
    wire.client.end();
    expect(await closed).toEqual([1006, '']);
    await expectUndisturbed();
  });

  test.each([
    ['in the middle of a head', frame(TEXT, 'x'.repeat(200)).subarray(0, 3)],
    ['in the middle of a payload', frame(TEXT, 'half', { length: 100 })],
    ['in the middle of a fragmented message', frame(TEXT, 'part', { fin: false })],
  ])('that resets %s is gone with 1006, and nothing of it arrives', async (_, bytes) => {
    const { joinRaw, errors, expectUndisturbed } = await start();
    const { wire, connection, closed } = await joinRaw();
    const messages: unknown[] = [];
    connection.on('message', (message) => messages.push(message));
    const whole = once(connection, 'message');
    wire.client.write(Buffer.concat([frame(TEXT, 'whole'), bytes]));
    await whole;
    wire.client.resetAndDestroy();
    expect(await closed).toEqual([1006, '']);
    expect(messages).toEqual(['whole']);
    expect(errors).toEqual([]);
    await expectUndisturbed();
  });

  test('that never reads is terminated when it is closed, and its namespace goes on', async () => {
    const { pool, joinRaw, expectUndisturbed } = await start();
    const { wire, connection, closed } = await joinRaw();
    wire.client.pause();
    for (let i = 0; i < 40; i++) {
      void connection.send('x'.repeat(100_000));
      await nextTurn();
    }
    await connection.close(4000, 'enough');
    expect(await closed).toEqual([1006, '']);
    expect(pool.stats().terminated).toBe(1);
    await expectUndisturbed();
  });

  test.each<[string, Buffer, number, string]>([
    ['noise', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 1002, 'RSV1 must be clear'],
    ['an unknown opcode', frame(3, 'x'), 1002, 'invalid opcode 3'],
    ['a frame without a mask', Buffer.from([0x81, 1, 0x78]), 1002, 'MASK must be set'],
    ['a compressed frame that was not agreed on', frame(TEXT | 0x40, 'x'), 1002, 'RSV1 must be clear'],
    ['a continuation of nothing', frame(CONTINUATION, 'x'), 1002, 'invalid opcode 0'],
    ['a ping in fragments', frame(PING, 'x', { fin: false }), 1002, 'FIN must be set'],
    ['a ping that is too long', frame(PING, 'x'.repeat(126)), 1002, 'invalid payload length 126'],
    ['text that is no UTF-8', frame(TEXT, Buffer.from([0xc3, 0x28])), 1007, 'invalid UTF-8 sequence'],
    ['a close code that is none', closeFrame(1006), 1002, 'invalid status code 1006'],
    ['a close frame of one byte', frame(CLOSE, 'x'), 1002, 'invalid payload length 1'],
    ['a message that is too large', frame(BINARY, 'x'.repeat(1_001)), 1009, 'Max payload size exceeded'],
    [
      'fragments that are too large together',
      Buffer.concat([frame(TEXT, 'x'.repeat(600), { fin: false }), frame(CONTINUATION, 'x'.repeat(600))]),
      1009,
      'Max payload size exceeded',
    ],
  ])('that sends %s is told so and closed, and nobody else', async (_, bytes, code, text) => {
    const { joinRaw, errors, expectUndisturbed } = await start({ maxPayload: 1_000 });
    const { wire, connection, closed } = await joinRaw();
    const messages: unknown[] = [];
    connection.on('message', (message) => messages.push(message));
    wire.client.write(bytes);
    const answer = await wire.frame();
    expect([answer.firstByte & 0x0f, answer.payload.readUInt16BE()]).toEqual([CLOSE, code]);
    wire.client.end();
    expect(await closed).toEqual([1006, '']);
    expect(messages).toEqual([]);
    expect(errors).toHaveLength(1);
    expect(errors[0]!.message).toContain(text);
    await expectUndisturbed();
  });

  test('that sends a message in fragments, with a ping between, is understood', async () => {
    const { joinRaw } = await start();
    const { wire, connection } = await joinRaw();
    const message = once(connection, 'message');
    for (const part of [
      frame(TEXT, 'a', { fin: false }),
      frame(CONTINUATION, 'b', { fin: false }),
      frame(PING),
    ]) {
      for (const byte of part) wire.client.write(Buffer.from([byte]));
    }
    wire.client.write(frame(CONTINUATION, 'c'));
    expect(await message).toEqual(['abc', false]);
  });

  test.each<[string, Buffer | undefined, [number, string]]>([
    ['without a code', frame(CLOSE), [1005, '']],
    ['without a close frame', undefined, [1006, '']],
    ['with 1011', closeFrame(1011, 'broken'), [1011, 'broken']],
    ['with 3000', closeFrame(3000), [3000, '']],
    ['with 4999', closeFrame(4999, 'ü'.repeat(61)), [4999, 'ü'.repeat(61)]],
  ])('that closes %s is reported as it said', async (_, bytes, expected) => {
    const { pool, joinRaw, errors, expectUndisturbed } = await start();
    const { wire, connection, closed } = await joinRaw();
    const left = once(pool, 'disconnection');
    if (bytes) wire.client.write(bytes);
    wire.client.end();
    expect(await closed).toEqual(expected);
    expect(await left).toEqual([connection, ...expected]);
    expect(errors).toEqual([]);
    await expectUndisturbed();
  });
});

test('what many clients leave behind when they come and go is nothing', { timeout: 600_000 }, async () => {
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool({ heartbeat: true, idleTimeout: 60_000 });
  const random = new Random(1);
  const seen = { connection: 0, disconnection: 0, emptyNamespace: 0, error: 0 };
  for (const event of Object.keys(seen) as (keyof typeof seen)[]) pool.on(event, () => seen[event]++);

  const cycle = async (id: number): Promise<void> => {
    const { client, socket } = await loopback.pair();
    const connection = new Connection(String(id), `n${id % 7}`, socket);
    await pool.newConnection(connection);
    void pool.broadcastMessage(connection.namespace, 'hello');
    const end = random.below(5);
    if (end === 0) client.socket.close(4000);
    else if (end === 1) client.socket.terminate();
    else if (end === 2) connection.terminate();
    else if (end === 3) void connection.sendThenClose('bye');
    else void pool.closeAll(connection.namespace);
    await Promise.all([connection.close(), client.closed]);
    expect(socket.readyState).toBe(WebSocket.CLOSED);
  };
  for (let id = 0; id < CYCLES; id++) await cycle(id);

  await expectConsistent(pool, 0);
  expect(seen).toMatchObject({ connection: CYCLES, disconnection: CYCLES, error: 0 });
  expect(seen.emptyNamespace).toBe(CYCLES);
  expect(pool.stats()).toMatchObject({ errors: 0, heartbeatsLost: 0, idleTimeouts: 0 });
});

test.each([1, 2, 3, 4, 5])(
  'a namespace that is made and emptied while it is sent to loses no count (seed %i)',
  async (seed) => {
    const random = new Random(seed);
    const pool = new ConnectionsPool();
    const expected = { made: 0, emptied: 0 };
    pool.on('connection', () => (expected.made += pool.namespace('n').size === 1 ? 1 : 0));
    pool.on('emptyNamespace', () => expected.emptied++);
    const results: ReturnType<ConnectionsPool['broadcastMessage']>[] = [];
    const sends: Promise<boolean>[] = [];
    const sockets: MemorySocket[] = [];
    for (let step = 0; step < 1_000; step++) {
      const id = String(random.below(3));
      const held = pool.getConnection('n', id);
      const action = random.below(7);
      if (action === 0 && held === undefined) {
        const socket = new MemorySocket();
        sockets.push(socket);
        void pool.newConnection(new Connection(id, 'n', socket));
      } else if (action === 1) void held?.close();
      else if (action === 2) held?.terminate();
      else if (action === 3 && held) void pool.removeConnection(held);
      else if (action === 4) results.push(pool.broadcastMessage('n', String(step)));
      else if (action === 5) sends.push(pool.send('n', id, String(step)));
      else await nextTurn();
    }
    await pool.closeAll('n');
    const sentByBroadcast = (await Promise.all(results)).map(({ recipients, sent, dropped, failed }) => {
      expect(sent + dropped + failed).toBe(recipients);
      return sent;
    });
    const sentAlone = (await Promise.all(sends)).filter(Boolean).length;
    const sent = sentByBroadcast.reduce((sum, count) => sum + count, sentAlone);
    expect(sockets.reduce((sum, socket) => sum + socket.sent.length, 0)).toBe(sent);
    expect(pool.stats().messagesSent).toBe(sent);
    expect(expected.emptied).toBe(expected.made);
    await expectConsistent(pool, 0);
  },
);

describe('a listener', () => {
  type Action = (pool: ConnectionsPool, connections: readonly Connection[]) => unknown;
  const actions: Record<string, Action> = {
    throws: () => {
      throw new Error('a listener failed');
    },
    rejects: () => Promise.reject(new Error('a listener failed')),
    'closes its namespace': (pool) => void pool.closeAll('one'),
    'closes everything': (pool) => {
      for (const name of [...pool.connections.keys()]) void pool.closeAll(name);
    },
    // A second one is refused, which is what the call is told.
    'drains the pool': (pool) => void pool.drainConnections({ grace: 300 }).catch(() => undefined),
    'removes everyone': (pool, connections) => {
      for (const connection of connections) void pool.removeConnection(connection);
    },
    'terminates everyone': (_, connections) => {
      for (const connection of connections) connection.terminate();
    },
    'closes everyone and broadcasts': (pool, connections) => {
      for (const connection of connections) void connection.close();
      void pool.broadcastMessage('one', 'x');
      pool.flush();
    },
    'sends and broadcasts': (pool) => {
      void pool.broadcastMessage('one', 'x');
      void pool.send('one', '1', 'y');
      pool.flush();
    },
    'joins again': (pool, connections) => {
      for (const connection of connections) void pool.newConnection(connection);
    },
  };
  const events = ['message', 'close', 'connection', 'disconnection', 'emptyNamespace', 'onEmptyNamespace'];
  const cases = events.flatMap((event) => Object.keys(actions).map((action) => [event, action] as const));

  // Whatever happens first, the pool is consistent at each step, and everyone has gone once when all have left.
  test.each(cases)('for %s that %s breaks nothing', async (event, action) => {
    const loopback = await Loopback.start();
    const pool = new ConnectionsPool({ closeTimeout: 300 });
    const connections: Connection[] = [];
    const clients: Client[] = [];
    const act = (): unknown => actions[action]!(pool, connections);
    const closes: string[] = [];
    const removals: Promise<unknown>[] = [];

    if (event === 'connection' || event === 'disconnection' || event === 'emptyNamespace')
      pool.on(event, act);
    for (const [id, namespace] of [
      ['1', 'one'],
      ['2', 'one'],
      ['3', 'two'],
    ] as const) {
      const { client, connection } = await loopback.connect(id, namespace);
      connections.push(connection);
      clients.push(client);
      connection.on('close', () => closes.push(id));
      if (event === 'message' || event === 'close') connection.on(event, act);
      if (event === 'onEmptyNamespace') {
        connection.on('close', () => {
          // Its failure is the caller's to hear.
          removals.push(pool.removeConnection(connection, act).catch((error: unknown) => error));
        });
      }
      void pool.newConnection(connection).catch(() => undefined);
    }
    for (const { socket } of clients) if (socket.readyState === WebSocket.OPEN) socket.send('hello');
    clients[2]!.socket.close(4000);
    await clients[2]!.closed;
    for (const { socket } of clients) socket.close(4000);
    await Promise.all(clients.map(({ closed }) => closed));
    await Promise.all(connections.map((connection) => connection.close()));
    await Promise.all(removals);

    expect(closes.toSorted()).toEqual(['1', '2', '3']);
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    await expectConsistent(pool, 0);
  });
});

test('listeners for errors that fail themselves break nothing, and are counted', async () => {
  const pool = new ConnectionsPool();
  const socket = new MemorySocket();
  const connection = new Connection('1', 'default', socket);
  const fail = (): never => {
    throw new Error('a listener failed');
  };
  pool.on('error', fail);
  connection.on('error', fail);
  connection.on('message', fail);
  await pool.newConnection(connection);
  socket.emit('error', new Error('the socket failed'));
  socket.emit('message', Buffer.from('x'), false);
  expect(pool.stats().errors).toBeGreaterThanOrEqual(4);
  await expectConsistent(pool, 1);
});

describe('a stall of the event loop', () => {
  function stall(ms: number): void {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
  }

  test('loses nothing of what was broadcast around it', async () => {
    const { pool, bystander } = await start();
    const expected = Array.from({ length: 20 }, (_, index) => String(index));
    for (const message of expected) {
      void pool.broadcastMessage('default', message);
      if (Number(message) % 5 === 0) stall(50);
      if (Number(message) % 3 === 0) await nextTurn();
    }
    expect(await bystander.client.exactly(20)).toEqual(expected);
  });

  test('is not made up for by a drain', async () => {
    const pool = new ConnectionsPool();
    const closedAtMs: number[] = [];
    for (let id = 0; id < 45; id++) {
      const connection = new Connection(String(id), 'default', new MemorySocket());
      connection.on('close', () => closedAtMs.push(performance.now()));
      await pool.newConnection(connection);
    }
    const drained = pool.drainConnections({ maxPerSecond: 20 });
    await nextTurn();
    stall(1_500);
    expect(await drained).toMatchObject({ closed: 45 });
    const windows = closedAtMs.slice(20).map((atMs, index) => atMs - closedAtMs[index]!);
    expect(Math.min(...windows)).toBeGreaterThanOrEqual(1_000);
  });
});
