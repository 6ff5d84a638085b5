import { describe, expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool, type WebSocketMessage } from '../src/index.js';
import { useFakeClock } from './support/fake-clock.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';

/** Its `close` waits for something that never comes. */
class Waiting extends Connection<string, WebSocketMessage, MemorySocket> {
  readonly messages: unknown[] = [];
  readonly closes: unknown[][] = [];

  constructor(socket: MemorySocket) {
    super('same', 'default', socket);
    this.on('message', (message) => this.messages.push(message));
  }

  override close(code?: number, reason?: string): Promise<void> {
    this.closes.push([code, reason]);
    return new Promise(() => undefined);
  }
}

// A subclass saved something before it closed. While it did, the connection that had been refused, or replaced by a
// newer one, went on as if nothing had happened: the application handled its messages, for ever if the close hung.
describe('an overridden close that waits', () => {
  useFakeClock();
  const CLOSE_TIMEOUT_MS = 2_000;

  test.each([
    ['refused', 'reject', 1, [1013, 'Duplicate id']],
    ['replaced', 'replace', 0, [4409, 'Replaced by a newer connection']],
  ] as const)(
    'a %s connection whose close waits is silent at once and is ended after closeTimeout and a second',
    async (_title, onDuplicate, loser, closedWith) => {
      const pool = new ConnectionsPool<WebSocketMessage, Waiting>({
        onDuplicate,
        closeTimeout: CLOSE_TIMEOUT_MS,
      });
      const sockets = [new MemorySocket(), new MemorySocket()];
      const connections = sockets.map((socket) => new Waiting(socket));
      for (const connection of connections) await pool.newConnection(connection);
      const [leaving, staying] = [connections[loser]!, connections[1 - loser]!];
      expect(pool.getConnection('default', 'same')).toBe(staying);
      expect(leaving.closes).toEqual([closedWith]);
      for (const socket of sockets) socket.emit('message', Buffer.from('x'), false);
      const broadcast = pool.broadcastMessage('default', 'all');
      await vi.advanceTimersByTimeAsync(0);
      expect(await broadcast).toMatchObject({ recipients: 1, sent: 1 });
      expect(staying.messages).toEqual(['x']);
      expect(leaving.messages).toEqual([]);

      await vi.advanceTimersByTimeAsync(CLOSE_TIMEOUT_MS + 999);
      expect(sockets[loser]!.readyState).toBe(1);
      await vi.advanceTimersByTimeAsync(201);
      expect(sockets[loser]!.readyState).toBe(3);
      expect(leaving.messages).toEqual([]);
      expect(sockets[1 - loser]!.readyState).toBe(1);
    },
  );
});

// The exceptions of a broadcast came from a generator that removed the last member and added another. The newcomer was
// in the namespace when the message was sent, and did not get it: the namespace had been looked up before, and was empty.
test('a member that joins while the exceptions of a broadcast are read gets the broadcast', async () => {
  const pool = new ConnectionsPool();
  const [leaver, newcomer] = [connectInMemory('leaver'), connectInMemory('newcomer')];
  await pool.newConnection(leaver.connection);
  function* exceptions(): Generator<string> {
    void pool.removeConnection(leaver.connection);
    void pool.newConnection(newcomer.connection);
    yield 'nobody';
  }
  const result = await pool.broadcastMessage('default', 'hi', exceptions());
  expect(result).toEqual({ recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 });
  expect(newcomer.socket.sent).toEqual(['hi']);
  expect(leaver.socket.sent).toEqual([]);
});
