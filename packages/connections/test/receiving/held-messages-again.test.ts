import { describe, expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool, type ConnectionsPoolOptions } from '../../src/index.js';
import { HeldMessages } from '../../src/receiving/held-messages.js';
import { useFakeClock } from '../support/fake-clock.js';
import { MemorySocket } from '../support/memory-socket.js';
import { PausableSocket } from '../support/pausable-socket.js';

const CLOSE_TIMEOUT_MS = 500;

describe('messages that are held', () => {
  useFakeClock();

  async function join(options: ConnectionsPoolOptions<Connection> = {}) {
    const pool = new ConnectionsPool({ closeTimeout: CLOSE_TIMEOUT_MS, ...options });
    const socket = new PausableSocket();
    const connection = new Connection('1', 'default', socket);
    await pool.newConnection(connection);
    return { pool, socket, connection };
  }

  /** The messages that a listener gets from now on. */
  function messagesOf(connection: Connection): unknown[] {
    const messages: unknown[] = [];
    connection.on('message', (message) => messages.push(message));
    return messages;
  }

  // The first message logged the client in; then the server took all listeners off and put those of the game on. With
  // them it had removed the library's own: what was held, and everything after it, was never delivered.
  test('a listener that follows removeAllListeners() gets what is held with the next message', async () => {
    const { pool, socket, connection } = await join();
    socket.text('1');
    socket.text('2');
    connection.removeAllListeners();
    const messages = messagesOf(connection);
    await vi.advanceTimersByTimeAsync(10);
    socket.text('3');
    socket.text('4');
    expect(messages).toEqual(['1', '2', '3', '4']);
    await vi.advanceTimersByTimeAsync(3 * CLOSE_TIMEOUT_MS);
    socket.text('5');
    expect(messages).toEqual(['1', '2', '3', '4', '5']);
    expect(pool.stats()).toMatchObject({ messagesReceived: 5, messagesIgnored: 0 });
  });

  test('a listener that follows removeAllListeners() gets what is held of a paused socket, which is resumed', async () => {
    const { pool, socket, connection } = await join();
    const large = 'x'.repeat(70_000);
    socket.text('1');
    socket.text(large);
    expect(socket.isPaused).toBe(true);
    connection.removeAllListeners();
    const messages = messagesOf(connection);
    // No message can arrive meanwhile.
    await vi.advanceTimersByTimeAsync(CLOSE_TIMEOUT_MS + 200);
    expect(socket.isPaused).toBe(false);
    expect(messages).toEqual(['1', large]);
    socket.text('3');
    expect(messages).toEqual(['1', large, '3']);
    expect(pool.stats()).toMatchObject({ messagesReceived: 3, messagesIgnored: 0 });
  });

  // A server had no listener when the client spoke first, and later read message by message with `once`. Since the
  // first ones had been given up, whatever arrived between two calls was ignored.
  test('a loop of once() loses nothing after earlier messages were given up', async () => {
    const { pool, socket, connection } = await join();
    socket.text('nobody');
    await vi.advanceTimersByTimeAsync(CLOSE_TIMEOUT_MS + 200);
    expect(pool.stats().messagesIgnored).toBe(1);
    const messages: unknown[] = [];
    const readNext = (): void => {
      connection.once('message', (message) => {
        messages.push(message);
        setTimeout(readNext, 5);
      });
    };
    readNext();
    for (const text of ['1', '2', '3', '4', '5']) socket.text(text);
    await vi.advanceTimersByTimeAsync(100);
    expect(messages).toEqual(['1', '2', '3', '4', '5']);
    expect(pool.stats()).toMatchObject({ messagesReceived: 5, messagesIgnored: 1 });
  });

  // A second connection over the same socket was taken for somebody else who listens: early messages were ignored.
  test('two connections over one socket both get early messages', async () => {
    const pool = new ConnectionsPool();
    const socket = new MemorySocket();
    const [one, other] = [new Connection('1', 'one', socket), new Connection('1', 'other', socket)];
    socket.emit('message', Buffer.from('early'), false);
    const messages = [messagesOf(one), messagesOf(other)];
    await pool.newConnection(one);
    await pool.newConnection(other);
    socket.emit('message', Buffer.from('later'), false);
    expect(messages).toEqual([
      ['early', 'later'],
      ['early', 'later'],
    ]);
    expect(pool.stats().messagesIgnored).toBe(0);
  });

  // A client that only gets pushes had sent more than the library holds. Its socket stayed paused during a drain and
  // did not read the answer to the close frame: it was terminated instead of closed.
  test('a client whose socket is paused because nobody listens answers the close of a drain', async () => {
    const { pool, socket } = await join({ closeTimeout: 3_000 });
    for (let i = 0; i < 3; i++) socket.text('x'.repeat(40_000));
    expect(socket.isPaused).toBe(true);
    const drained = pool.drainConnections({ grace: 1_000 });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await drained).toMatchObject({ closed: 1, terminated: 0, left: 0 });
    expect(socket.closes).toMatchObject([{ code: 1012 }]);
  });
});

test('a Blob that is read after it was dropped does not disturb what is held by then', async () => {
  const told: string[] = [];
  const held = new HeldMessages(
    {
      wantsMessages: true,
      deliver: () => told.push('delivered'),
      admit: () => true,
      failed: () => told.push('failed'),
      pause: () => true,
      resume: () => told.push('resumed'),
      emptied: () => told.push('emptied'),
    },
    0,
  );
  const blob = new Blob(['late']);
  const read = vi.spyOn(blob, 'arrayBuffer');
  held.addBlob(blob, false);
  held.drop();
  await read.mock.results[0]!.value;
  await Promise.resolve();
  expect([told, held.length]).toEqual([[], 0]);
});
