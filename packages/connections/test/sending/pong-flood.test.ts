import { describe, expect, test } from 'vitest';
import { Connection, ConnectionsPool, type ConnectionsPoolOptions } from '../../src/index.js';
import { FakeWsSocket } from '../support/fake-ws-socket.js';
import { endingWithTest } from '../support/memory-socket.js';

const BOUND = 10_000;

async function join(options: ConnectionsPoolOptions<Connection> = {}) {
  const socket = endingWithTest(new FakeWsSocket());
  const pool = new ConnectionsPool({ maxBufferedBytes: BOUND, ...options });
  const connection = new Connection('1', 'default', socket);
  await pool.newConnection(connection);
  /** A ping comes while that many bytes of earlier answers wait. */
  const ping = (waitingBytes: number): void => {
    socket._socket.writableLength = waitingBytes;
    socket.emit('ping');
  };
  return { socket, pool, connection, ping };
}

// `ws` answers each ping with a pong, which no policy is asked about: a client that pinged and never read had megabytes
// of them waiting, far beyond the bound.
describe('a client that pings and does not read the answers', () => {
  test.each([
    ['no policy', {}],
    ["onSlow: 'drop'", { onSlow: 'drop' }],
    ['a policy that drops', { onSlow: () => 'drop' }],
  ] as const)(
    'with %s a client that pings and does not read is closed at twice the bound',
    async (_, options) => {
      const { socket, pool, ping } = await join(options);
      ping(2 * BOUND);
      expect(socket.closes).toEqual([]);
      ping(2 * BOUND + 1);
      ping(2 * BOUND + 100);
      expect(socket.closes).toEqual([{ code: 1013, reason: 'Slow reader' }]);
      expect(pool.stats()).toMatchObject({ slowReaders: 1, dropped: 0 });
    },
  );

  test('pongs without a payload take memory as well', async () => {
    const { socket, ping } = await join();
    Object.assign(socket._socket, { _writableState: { bufferedRequestCount: 2 * (BOUND / 320) } });
    ping(50);
    expect(socket.closes).toEqual([{ code: 1013, reason: 'Slow reader' }]);
  });

  test('a policy that lets everything pass keeps a client that pings and does not read', async () => {
    const { socket, ping } = await join({ onSlow: () => 'send' });
    ping(100 * BOUND);
    expect(socket.closes).toEqual([]);
  });

  test('an overridden close is called once for a client that goes on pinging', async () => {
    const { connection, ping } = await join({ onSlow: 'drop' });
    let closes = 0;
    connection.close = () => {
      closes++;
      return Promise.resolve();
    };
    ping(3 * BOUND);
    ping(4 * BOUND);
    expect(closes).toBe(1);
  });
});
