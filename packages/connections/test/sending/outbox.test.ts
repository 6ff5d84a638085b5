import { describe, expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool, type BroadcastResult, type WebSocketMessage } from '../../src/index.js';
import { PrivateMessage } from '../../src/sending/delivery.js';
import { endTurn } from '../support/engine.js';
import { connectInMemory, endingWithTest, MemorySocket } from '../support/memory-socket.js';
import { onTestFinished } from '../support/on-test-finished.js';
import { poolInMemory } from '../support/pool-of.js';

const ONE_SENT = { recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 };
/** A connection that is closing is not a recipient. */
const NOBODY = { recipients: 0, sent: 0, dropped: 0, failed: 0, conflated: 0 };
const ONE_FAILED = { recipients: 1, sent: 0, dropped: 0, failed: 1, conflated: 0 };

class Overridden extends Connection {
  readonly taken: unknown[] = [];

  override async send(message: WebSocketMessage): Promise<boolean> {
    this.taken.push(message);
    return super.send(message);
  }
}

const takers: Record<string, () => Connection> = {
  'a socket': () => connectInMemory('1').connection,
  handlers: () =>
    new Connection('1', 'default', new MemorySocket(), { send: () => undefined, close: () => undefined }),
  'an overridden send': () => new Overridden('1', 'default', new MemorySocket()),
};

/** A connection whose handlers record what they get, and call `act` on the first message. */
async function noting(
  isMixed: boolean,
  act: (connection: Connection, pool: ConnectionsPool) => void,
): Promise<unknown[]> {
  const pool = new ConnectionsPool();
  const seen: unknown[] = [];
  const connection: Connection = new Connection('1', 'default', endingWithTest(new MemorySocket()), {
    send: (message) => {
      seen.push(message);
      if (seen.length === 1) act(connection, pool);
    },
    close: (code) => void seen.push(code),
  });
  await pool.newConnection(connection);
  void pool.broadcastMessage('default', '1');
  void pool.broadcastMessage('default', '2');
  void (isMixed ? connection.send('3') : pool.broadcastMessage('default', '3'));
  void pool.broadcastMessage('default', '4');
  await endTurn();
  return seen;
}

test('bufferedAmount counts what waits for this connection, without what it is excepted from', async () => {
  const pool = new ConnectionsPool();
  const [a, b] = [connectInMemory('a').connection, connectInMemory('b').connection];
  for (const connection of [a, b]) await pool.newConnection(connection);
  void pool.broadcastMessage('default', '1', ['a']);
  expect([a.bufferedAmount, b.bufferedAmount]).toEqual([0, 3]);
  void pool.broadcastMessage('default', '22');
  void pool.broadcastMessage('default', '333', ['b']);
  expect([a.bufferedAmount, b.bufferedAmount]).toEqual([4 + 5, 3 + 4]);
  void b.send('4444');
  expect([a.bufferedAmount, b.bufferedAmount]).toEqual([4 + 5, 3 + 4 + 6]);
  await endTurn();
  expect([a.bufferedAmount, b.bufferedAmount]).toEqual([0, 0]);
});

test.each(Object.entries(takers))(
  'a broadcast and a private message are counted once each for %s',
  async (_, newConnection) => {
    const pool = new ConnectionsPool();
    const connection = newConnection();
    await pool.newConnection(connection);
    expect(await pool.broadcastMessage('default', '12')).toEqual(ONE_SENT);
    expect(await connection.send('345')).toBe(true);
    expect(pool.stats()).toMatchObject({ messagesSent: 2, bytesSent: 4 + 5 });
  },
);

test('a handler that answers false has not sent the broadcast', async () => {
  const pool = new ConnectionsPool();
  const handlers = { send: (): boolean => false, close: () => undefined };
  await pool.newConnection(new Connection('1', 'default', new MemorySocket(), handlers));
  expect(await pool.broadcastMessage('default', 'x')).toEqual(ONE_FAILED);
});

test.each([null, undefined, 0, 'ok', { then: 'not a function' }])(
  'a handler that answers %o has sent the broadcast',
  async (answer) => {
    const pool = new ConnectionsPool();
    const handlers = { send: () => answer, close: () => undefined };
    await pool.newConnection(new Connection('1', 'default', new MemorySocket(), handlers));
    expect(await pool.broadcastMessage('default', 'x')).toEqual(ONE_SENT);
  },
);

test('handlers over an object without readyState get nothing after their close', async () => {
  const pool = new ConnectionsPool();
  const got: unknown[] = [];
  const socket = { send: () => undefined, close: () => undefined };
  let settle: () => void = () => undefined;
  const connection = new Connection('1', 'default', socket, {
    send: (message) => void got.push(message),
    close: () => {
      got.push('close');
      return new Promise<void>((resolve) => (settle = resolve));
    },
  });
  await pool.newConnection(connection);
  const results = [pool.broadcastMessage('default', '1')];
  const closed = connection.close();
  results.push(pool.broadcastMessage('default', '2'));
  expect(await Promise.all(results)).toEqual([ONE_SENT, NOBODY]);
  settle();
  await closed;
  expect(got).toEqual(['1', 'close']);
});

test('an overridden send gets nothing after its close', async () => {
  const pool = new ConnectionsPool();
  const connection = new Overridden('1', 'default', endingWithTest(new MemorySocket(false)));
  await pool.newConnection(connection);
  void connection.close();
  expect(await pool.broadcastMessage('default', 'x')).toEqual(NOBODY);
  expect(connection.taken).toEqual([]);
});

test('a socket that its peer has begun to close gets nothing more', async () => {
  const pool = new ConnectionsPool();
  const { socket, connection } = connectInMemory();
  await pool.newConnection(connection);
  const result = pool.broadcastMessage('default', 'x');
  socket.readyState = 2;
  expect(await result).toEqual(ONE_FAILED);
  expect(socket.sent).toEqual([]);
});

// Messages that followed the batch of the running handler, or were new, were delivered before the rest of that batch.
describe.each([
  { mix: 'broadcasts', isMixed: false },
  { mix: 'broadcasts and private messages', isMixed: true },
])('with $mix pending', ({ mix, isMixed }) => {
  test(`a handler that removes its connection disturbs no order (${mix} pending)`, async () => {
    const seen = await noting(isMixed, (connection, pool) => void pool.removeConnection(connection));
    expect(seen).toEqual(['1', '2', '3', '4']);
  });

  test(`a handler that sends adds to the end (${mix} pending)`, async () => {
    const seen = await noting(isMixed, (connection) => void connection.send('5'));
    expect(seen).toEqual(['1', '2', '3', '4', '5']);
  });

  test(`a handler that broadcasts and flushes adds to the end (${mix} pending)`, async () => {
    const seen = await noting(isMixed, (_, pool) => {
      void pool.broadcastMessage('default', '5');
      pool.flush();
    });
    expect(seen).toEqual(['1', '2', '3', '4', '5']);
  });

  test(`a handler that closes its connection gets the close last (${mix} pending)`, async () => {
    const seen = await noting(isMixed, (connection) => void connection.close(4000));
    expect(seen).toEqual(['1', '2', '3', '4', 4000]);
  });
});

test('a generic socket gets the bytes of a buffer as they were at the call', async () => {
  const { socket, connection } = connectInMemory();
  const pool = new ConnectionsPool();
  await pool.newConnection(connection);
  const buffer = Buffer.alloc(10, 'a');
  const sent = pool.broadcastMessage('default', buffer);
  buffer.fill('b');
  await sent;
  expect(socket.sent.map(String)).toEqual(['aaaaaaaaaa']);
});

// Handlers get a broadcast after the call. They were given the caller's buffer, which the caller had already reused.
test.each([
  ['a Buffer', Buffer.from('hello')],
  ['a Uint16Array', Uint16Array.of(1, 2, 3)],
  ['an ArrayBuffer', Uint8Array.of(1, 2, 3).buffer],
])('handlers get %s of a broadcast as it was when it was broadcast', async (_, message) => {
  const pool = new ConnectionsPool();
  const got: unknown[] = [];
  const handlers = { send: (taken: unknown) => void got.push(taken), close: () => undefined };
  for (const id of ['1', '2']) await pool.newConnection(new Connection(id, 'default', {}, handlers));
  const original = structuredClone(message);
  const result = pool.broadcastMessage('default', message);
  const bytes =
    message instanceof ArrayBuffer
      ? Buffer.from(message)
      : Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  bytes.fill(0xff);
  expect(await result).toMatchObject({ sent: 2 });
  for (const taken of got) {
    expect((taken as object).constructor).toBe(message.constructor);
    expect(Buffer.from(taken as Uint8Array)).toEqual(Buffer.from(original as Uint8Array));
  }
});

// If a handler flushed, or broadcast past the limit of a turn, the broadcast that it was called for resolved before it
// was counted: { recipients: 3, sent: 1, dropped: 0, failed: 0, conflated: 0 }.
test.each<[string, (pool: ConnectionsPool) => void]>([
  ['flushes', (pool) => pool.flush()],
  [
    'broadcasts more than a turn may hold',
    (pool) => void pool.broadcastMessage('other', Buffer.alloc(1_100_000)),
  ],
  [
    'broadcasts and flushes',
    (pool) => {
      void pool.broadcastMessage('default', 'inner');
      pool.flush();
    },
  ],
])('the counts of a broadcast add up when a handler %s', async (_, act) => {
  const pool = new ConnectionsPool();
  await pool.newConnection(connectInMemory('1', 'other').connection);
  const handlers = {
    send: (message: unknown) => {
      if (message === 'x') act(pool);
    },
    close: () => undefined,
  };
  for (const id of ['1', '2', '3']) await pool.newConnection(new Connection(id, 'default', {}, handlers));
  expect(await pool.broadcastMessage('default', 'x')).toEqual({
    recipients: 3,
    sent: 3,
    dropped: 0,
    failed: 0,
    conflated: 0,
  });
});

// While the messages of a leaving connection were handed over, its handler broadcast something. For that connection the
// broadcast was lost, and not counted.
test('the counts of a broadcast made while a leaving connection is emptied add up', async () => {
  const pool = new ConnectionsPool();
  let inner: Promise<BroadcastResult> | undefined;
  const leaving: Connection = new Connection(
    '1',
    'default',
    {},
    {
      send: (message) => {
        if (message === 'A') inner = pool.broadcastMessage('default', 'B');
      },
      close: () => undefined,
    },
  );
  const stays = connectInMemory('2');
  for (const connection of [leaving, stays.connection]) await pool.newConnection(connection);
  const outer = pool.broadcastMessage('default', 'A');
  await pool.removeConnection(leaving);
  expect(await outer).toEqual({ recipients: 2, sent: 2, dropped: 0, failed: 0, conflated: 0 });
  const { recipients, sent, dropped, failed } = (await inner)!;
  expect(sent + dropped + failed).toBe(recipients);
  expect(stays.socket.sent).toEqual(['A', 'B']);
});

// 16,000 private messages after a broadcast took 271 ms, growing with the square of their number.
test('pending bytes are not summed up again for each private message', async () => {
  const {
    pool,
    members: [{ socket, connection }],
  } = poolInMemory(1);
  const sums = vi.spyOn(PrivateMessage.prototype, 'byteLength', 'get');
  onTestFinished(() => sums.mockRestore());
  void pool.broadcastMessage('default', 'x');
  for (let i = 0; i < 1_000; i++) void connection.send('y');
  expect(connection.bufferedAmount).toBe(3 + 3 * 1_000);
  await endTurn();
  expect(connection.bufferedAmount).toBe(0);
  expect(socket.sent).toHaveLength(1_001);
  expect(sums.mock.calls.length).toBeLessThan(10_000);
});
