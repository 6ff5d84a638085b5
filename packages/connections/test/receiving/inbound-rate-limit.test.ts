import { describe, expect, test, vi } from 'vitest';
import {
  Connection,
  ConnectionsPool,
  type ConnectionsPoolOptions,
  type RateDecision,
} from '../../src/index.js';
import { wheel } from '../../src/liveness/timing-wheel.js';
import { useFakeClock } from '../support/fake-clock.js';
import { endingWithTest, MemorySocket } from '../support/memory-socket.js';
import { PausableSocket } from '../support/pausable-socket.js';
import { record } from '../support/record.js';
import { watchUnhandled } from '../support/unhandled.js';

type RateLimit = NonNullable<ConnectionsPoolOptions<Connection>['rateLimit']>;

async function join<Socket extends MemorySocket = PausableSocket>(
  rateLimit: RateLimit | undefined,
  options: Omit<ConnectionsPoolOptions<Connection>, 'rateLimit'> = {},
  socket = new PausableSocket() as MemorySocket as Socket,
) {
  const pool = new ConnectionsPool({ rateLimit, ...options });
  const connection = new Connection('1', 'default', endingWithTest(socket));
  const messages: string[] = [];
  connection.on('message', (message) => void messages.push(Buffer.from(message as string).toString()));
  await pool.newConnection(connection);
  return { pool, socket, connection, messages };
}

/** It never closes. */
class Endless extends PausableSocket {
  override close(): void {
    this.readyState = 2;
  }

  override terminate(): void {
    this.readyState = 2;
  }

  override resume(): void {
    this.isPaused = false;
  }
}

/** The client sends these messages in one chunk. */
function send(socket: MemorySocket, ...texts: readonly (string | number)[]): void {
  for (const text of texts) socket.emit('message', Buffer.from(String(text)), false);
}

describe('a client that exceeds its rate limit', () => {
  useFakeClock();

  test('a client within its limit notices nothing', async () => {
    const { pool, socket, messages } = await join({ messagesPerSecond: 10 });
    for (let i = 0; i < 50; i++) {
      send(socket, i);
      await vi.advanceTimersByTimeAsync(100);
    }
    expect(messages).toHaveLength(50);
    expect(pool.stats()).toMatchObject({ messagesReceived: 50, messagesIgnored: 0, rateLimited: 0 });
    expect(socket.closes).toEqual([]);
  });

  test('a client that exceeds the limit is closed with 1008 by default, and nothing more is delivered', async () => {
    const { pool, socket, messages } = await join({ messagesPerSecond: 2 });
    send(socket, 1, 2, 3, 4);
    expect(messages).toEqual(['1', '2']);
    expect(socket.closes).toEqual([{ code: 1008, reason: 'Rate limit exceeded' }]);
    expect(pool.stats()).toMatchObject({ messagesReceived: 2, messagesIgnored: 2, rateLimited: 1 });
  });

  test('a client that exceeds the limit and does not answer the close is terminated after closeTimeout', async () => {
    const socket = new MemorySocket(false);
    const { pool } = await join({ messagesPerSecond: 1 }, { closeTimeout: 1_000 }, socket);
    send(socket, 1, 2);
    await vi.advanceTimersByTimeAsync(1_300);
    expect(pool.stats()).toMatchObject({ connections: 0, terminated: 1 });
  });

  // What had been read before the pause arrived after it. When that had been delivered, the socket was resumed.
  test('a socket that its owner has paused before stays paused when what waits for the limit is delivered', async () => {
    const { socket, messages } = await join({ messagesPerSecond: 1, onExceeded: 'pause' });
    socket.pause();
    send(socket, 1, 2);
    expect(messages).toEqual(['1']);
    await vi.advanceTimersByTimeAsync(1_200);
    expect(messages).toEqual(['1', '2']);
    expect(socket.isPaused).toBe(true);

    socket.resume();
    send(socket, 3, 4);
    expect(socket.isPaused).toBe(true);
    await vi.advanceTimersByTimeAsync(2_200);
    expect([messages, socket.isPaused]).toEqual([['1', '2', '3', '4'], false]);
  });

  test('drop ignores messages above the limit, and later messages are delivered', async () => {
    const { pool, socket, messages } = await join({ messagesPerSecond: 2, onExceeded: 'drop' });
    send(socket, 1, 2, 3, 4);
    await vi.advanceTimersByTimeAsync(500);
    send(socket, 5, 6);
    expect(messages).toEqual(['1', '2', '5']);
    expect(pool.stats()).toMatchObject({ messagesReceived: 3, messagesIgnored: 3, rateLimited: 3 });
  });

  test('a burst may be larger or smaller than one second of the rate', async () => {
    const large = await join({ messagesPerSecond: 1, burst: 5, onExceeded: 'drop' });
    send(large.socket, 1, 2, 3, 4, 5, 6);
    expect(large.messages).toHaveLength(5);
    const small = await join({ messagesPerSecond: 5, burst: 1, onExceeded: 'drop' });
    send(small.socket, 1, 2, 3);
    expect(small.messages).toHaveLength(1);
  });

  test('a rate below one message per second allows one at a time', async () => {
    const { socket, messages } = await join({ messagesPerSecond: 0.5, onExceeded: 'drop' });
    send(socket, 1, 2);
    await vi.advanceTimersByTimeAsync(1_900);
    send(socket, 3);
    await vi.advanceTimersByTimeAsync(100);
    send(socket, 4);
    expect(messages).toEqual(['1', '4']);
  });

  test('an overridden close that does nothing is called once, and the connection ends all the same', async () => {
    class Stubborn extends Connection {
      closes = 0;
      override async close(): Promise<void> {
        this.closes++;
        return Promise.resolve();
      }
    }
    const socket = new MemorySocket();
    const pool = new ConnectionsPool({ rateLimit: { messagesPerSecond: 1 }, closeTimeout: 1_000 });
    const connection = new Stubborn('1', 'default', socket);
    const events = record(connection);
    await pool.newConnection(connection);
    send(socket, 1, 2, 3, 4);
    expect(connection.closes).toBe(1);
    await vi.advanceTimersByTimeAsync(2_500);
    expect(events.map(([event]) => event)).toEqual(['message', 'close']);
  });
});

describe('a flood that is dropped', () => {
  useFakeClock();

  test('a flood that arrives in one read can use the tokens that are added meanwhile', async () => {
    const { pool, socket, messages } = await join({
      messagesPerSecond: 10_000,
      burst: 10,
      onExceeded: 'drop',
    });
    let nowMs = performance.now();
    vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
    // All in one turn: a message every 10 µs, ten times the limit.
    for (let i = 0; i < 2_000; i++) {
      nowMs += 0.01;
      send(socket, i);
    }
    expect(messages.length).toBeGreaterThan(195);
    expect(messages.length).toBeLessThan(220);
    const ignored = 2_000 - messages.length;
    expect(pool.stats()).toMatchObject({ messagesIgnored: ignored, rateLimited: ignored });
  });

  test('the clock is looked at for every sixteenth message of a flood that arrives in one read', async () => {
    const { socket, pool } = await join({ messagesPerSecond: 1, onExceeded: 'drop' });
    send(socket, 1, 2);
    const now = vi.spyOn(performance, 'now');
    send(socket, ...Array(160).keys());
    expect(now.mock.calls.length).toBeLessThanOrEqual(20);
    expect(pool.stats()).toMatchObject({ rateLimited: 161, messagesIgnored: 161 });
  });

  test('a small message is not dropped because an earlier large one was', async () => {
    const { socket, messages } = await join({ bytesPerSecond: 100, onExceeded: 'drop' });
    send(socket, 'x'.repeat(200), 'small', 'y'.repeat(200), 'tiny');
    expect(messages).toEqual(['small', 'tiny']);
  });

  test('an onExceeded function is called for each message of a flood', async () => {
    let asked = 0;
    const onExceeded = (): RateDecision => (++asked % 3 === 0 ? 'accept' : 'drop');
    const { socket, messages } = await join({ messagesPerSecond: 1, onExceeded });
    send(socket, ...Array(31).keys());
    expect([asked, messages.length]).toEqual([30, 11]);
  });
});

// Node reads up to 2 MiB from a socket before any other has its turn.
describe('the socket of a client whose messages are dropped', () => {
  useFakeClock();

  const nextTurn = async (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

  test('a socket that brings too much is not read from until the next turn of the event loop', async () => {
    const { socket } = await join({ messagesPerSecond: 1, onExceeded: 'drop' });
    send(socket, 1);
    expect(socket.isPaused).toBe(false);
    send(socket, 2);
    expect(socket.isPaused).toBe(true);
    const pause = vi.spyOn(socket, 'pause');
    // Read before it was paused.
    send(socket, 3);
    expect(pause).not.toHaveBeenCalled();
    await nextTurn();
    expect(socket.isPaused).toBe(false);
    send(socket, 4);
    expect(socket.isPaused).toBe(true);
  });

  test('a flood that goes on after the connection was closed for it is read in turns, too', async () => {
    const { pool, socket, connection } = await join({ messagesPerSecond: 1 }, {}, new Endless());
    send(socket, 1, 2);
    const expectTurns = async (text: number): Promise<void> => {
      await nextTurn();
      expect(socket.isPaused).toBe(false);
      send(socket, text);
      expect(socket.isPaused).toBe(true);
    };
    await expectTurns(3);
    connection.terminate();
    await expectTurns(4);
    expect(pool.stats()).toMatchObject({ rateLimited: 1, messagesIgnored: 3 });
  });

  test('a connection that was terminated delivers nothing more, whatever its socket still brings', async () => {
    const { pool, socket, connection, messages } = await join(undefined, {}, new Endless());
    send(socket, 1);
    connection.terminate();
    send(socket, 2);
    expect([messages, pool.stats().messagesIgnored]).toEqual([['1'], 1]);
  });

  test('messages to a connection that was closed for another reason do not pause the socket', async () => {
    const { socket, connection } = await join({ messagesPerSecond: 1 }, {}, new Endless());
    void connection.close(4000);
    send(socket, 1, 2, 3);
    expect(socket.isPaused).toBe(false);
  });

  test('a socket that its owner has paused stays paused after messages were dropped', async () => {
    const { socket } = await join({ messagesPerSecond: 1, onExceeded: 'drop' });
    socket.pause();
    send(socket, 1, 2);
    await nextTurn();
    expect(socket.isPaused).toBe(true);
  });

  test('a socket that is paused for the limit after a message was dropped stays paused in the next turn', async () => {
    const answers: RateDecision[] = ['drop', 'pause'];
    const { socket, messages } = await join({ messagesPerSecond: 1, onExceeded: () => answers.shift()! });
    send(socket, 1, 2, 3);
    await nextTurn();
    expect(socket.isPaused).toBe(true);
    await vi.advanceTimersByTimeAsync(1_300);
    expect([messages, socket.isPaused]).toEqual([['1', '3'], false]);
  });

  test('the socket of a connection that is released after a drop is resumed at once', async () => {
    const { socket, connection } = await join({ messagesPerSecond: 1, onExceeded: 'drop' });
    send(socket, 1, 2);
    connection.release();
    expect(socket.isPaused).toBe(false);
    socket.pause();
    await nextTurn();
    // Its new owner has paused it.
    expect(socket.isPaused).toBe(true);
  });

  test('a socket that is paused for messages that nobody has listened for yet is resumed when they are delivered', async () => {
    const { pool, socket, connection, messages } = await join({ messagesPerSecond: 2, onExceeded: 'drop' });
    const [listener] = connection.listeners('message') as [() => void];
    connection.off('message', listener);
    send(socket, 'x'.repeat(70_000), 'y', 'dropped');
    await nextTurn();
    expect([socket.isPaused, pool.stats().rateLimited]).toEqual([true, 1]);
    connection.on('message', listener);
    await nextTurn();
    expect([messages.length, socket.isPaused]).toEqual([2, false]);
  });

  test.each(['pause', 'resume'] as const)(
    'messages are dropped without turns if %s() is missing',
    async (name) => {
      const socket = Object.assign(new PausableSocket(), { [name]: undefined });
      const { pool, connection } = await join({ messagesPerSecond: 1, onExceeded: 'drop' }, {}, socket);
      const events = record(connection);
      const immediate = vi.spyOn(globalThis, 'setImmediate');
      send(socket, 1, 2, 3);
      expect([socket.isPaused, pool.stats().rateLimited]).toEqual([false, 2]);
      expect(events.map(([event]) => event)).toEqual(['message']);
      expect(immediate).not.toHaveBeenCalled();
    },
  );

  test('a resume() that throws is an error event', async () => {
    const { socket, connection } = await join({ messagesPerSecond: 1, onExceeded: 'drop' });
    const errors = record(connection);
    vi.spyOn(socket, 'resume').mockImplementation(() => {
      throw new Error('cannot resume');
    });
    send(socket, 1, 2);
    await nextTurn();
    expect(errors.slice(1)).toEqual([['error', new Error('cannot resume')]]);
  });
});

describe('a client that is paused', () => {
  useFakeClock();

  test('pause stops reading, delivers what was read at the rate, and resumes reading when nothing waits', async () => {
    const { pool, socket, messages } = await join({ messagesPerSecond: 10, onExceeded: 'pause' });
    send(socket, ...Array(25).keys());
    expect(messages).toHaveLength(10);
    expect(socket.isPaused).toBe(true);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(messages.length).toBeGreaterThanOrEqual(18);
    expect(messages.length).toBeLessThanOrEqual(20);
    expect(socket.isPaused).toBe(true);
    await vi.advanceTimersByTimeAsync(700);
    expect(messages).toEqual(Array.from(Array(25).keys(), String));
    expect(socket.isPaused).toBe(false);
    expect(pool.stats()).toMatchObject({ messagesReceived: 25, messagesIgnored: 0, rateLimited: 15 });
  });

  test('a paused client gets its full rate although its burst is small', async () => {
    const { socket, messages } = await join({ messagesPerSecond: 1_000, burst: 1, onExceeded: 'pause' });
    send(socket, ...Array(1_000).keys());
    await vi.advanceTimersByTimeAsync(1_300);
    expect(messages).toHaveLength(1_000);
  });

  test('a message larger than bytesPerSecond is delivered when its bytes have come in', async () => {
    const { socket, messages } = await join({ bytesPerSecond: 100, onExceeded: 'pause' });
    send(socket, 'x'.repeat(500), 'next');
    await vi.advanceTimersByTimeAsync(3_900);
    expect(messages).toEqual([]);
    await vi.advanceTimersByTimeAsync(500);
    expect(messages.map(({ length }) => length)).toEqual([500, 4]);
    expect(socket.isPaused).toBe(false);
  });

  test('messages that wait when the socket closes are delivered at the rate, before the close event', async () => {
    const { pool, socket, connection, messages } = await join({ messagesPerSecond: 2, onExceeded: 'pause' });
    const events = record(connection);
    send(socket, 1, 2, 3, 4, 5);
    socket.end(4000, 'bye');
    expect(connection.closed).toBe(true);
    expect(await connection.send('too late')).toBe(false);
    expect(messages).toEqual(['1', '2']);
    expect(pool.stats()).toMatchObject({ connections: 1, closing: 1 });
    await vi.advanceTimersByTimeAsync(1_700);
    expect(events.map(([, value]) => value)).toEqual(['1', '2', '3', '4', '5', 4000]);
    expect(pool.stats()).toMatchObject({ connections: 0, closing: 0, messagesIgnored: 0, terminated: 0 });
  });

  // A client sent 10,000 messages in one packet and disconnected: all of them were delivered at once.
  test('messages that wait when the socket closes are ignored after closeTimeout', async () => {
    const { pool, socket, connection, messages } = await join(
      { messagesPerSecond: 2, onExceeded: 'pause' },
      { closeTimeout: 1_000 },
    );
    const codes: number[] = [];
    connection.on('close', (code) => codes.push(code));
    send(socket, ...Array(100).keys());
    socket.end(1006);
    const whenClosed = connection.close();
    await vi.advanceTimersByTimeAsync(1_500);
    await whenClosed;
    expect(codes).toEqual([1006]);
    expect(messages.length).toBeLessThan(6);
    expect(pool.stats()).toMatchObject({ connections: 0, terminated: 0 });
    expect(pool.stats().messagesIgnored).toBe(100 - messages.length);
  });

  test.each<[string, (connection: Connection, pool: ConnectionsPool) => void]>([
    ['terminate()', (connection) => connection.terminate()],
    ['release()', (connection) => connection.release()],
    ['removeConnection()', (connection, pool) => void pool.removeConnection(connection)],
    ['a drain', (_, pool) => void pool.drainConnections({ grace: 500 })],
    ['removeAllListeners()', (connection) => connection.removeAllListeners('message')],
  ])('%s after the socket has closed cleans up although messages wait', async (_title, act) => {
    const { pool, socket, connection } = await join({ messagesPerSecond: 1, onExceeded: 'pause' });
    const codes: number[] = [];
    connection.on('close', (code) => codes.push(code));
    send(socket, ...Array(50).keys());
    socket.end(4000);
    act(connection, pool);
    await vi.advanceTimersByTimeAsync(12_000);
    expect(codes).toEqual([4000]);
    expect(pool.stats()).toMatchObject({ connections: 0, closing: 0 });
    const { messagesReceived, messagesIgnored } = pool.stats();
    expect(messagesReceived + messagesIgnored).toBeLessThanOrEqual(50);
  });

  test('a client can reconnect with its id while messages of its last connection wait', async () => {
    const { pool, socket, messages } = await join({ messagesPerSecond: 1, onExceeded: 'pause' });
    send(socket, 1, 2, 3);
    socket.end(1006);
    const again = new Connection('1', 'default', new PausableSocket());
    await pool.newConnection(again);
    expect(pool.getConnection('default', '1')).toBe(again);
    expect(pool.stats()).toMatchObject({ connections: 1, refused: 0, closing: 0 });
    await vi.advanceTimersByTimeAsync(3_000);
    expect(messages).toEqual(['1', '2', '3']);
  });

  test('messages that wait when our side closes are ignored, and the answer to the close is read', async () => {
    const { pool, socket, connection, messages } = await join({ messagesPerSecond: 1, onExceeded: 'pause' });
    send(socket, 1, 2, 3);
    await connection.close();
    expect(messages).toEqual(['1']);
    expect(pool.stats()).toMatchObject({ connections: 0, messagesIgnored: 2, terminated: 0 });
  });

  test('a drain delivers waiting messages at the rate, and then reads the answer to its close', async () => {
    const { pool, socket, messages } = await join({ messagesPerSecond: 10, onExceeded: 'pause' });
    send(socket, ...Array(20).keys());
    const drained = pool.drainConnections({ grace: 5_000 });
    await vi.advanceTimersByTimeAsync(500);
    expect(messages.length).toBeLessThan(17);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(messages).toHaveLength(20);
    expect(await drained).toMatchObject({ closed: 1, terminated: 0 });
  });

  test('a flood during a drain ends with the grace period', async () => {
    const { pool, socket } = await join({ messagesPerSecond: 1, onExceeded: 'pause' });
    send(socket, ...Array(200).keys());
    const drained = pool.drainConnections({ grace: 2_000 });
    let isDrained = false;
    void drained.then(() => (isDrained = true));
    // Deadlines are noticed within 100 ms. Waiting messages used to delay the end by another second.
    await vi.advanceTimersByTimeAsync(2_300);
    expect(isDrained).toBe(true);
    expect(await drained).toMatchObject({ closed: 0, terminated: 1 });
  });

  test('terminate() during a drain ends the connection at once, and ignores waiting messages', async () => {
    const { pool, socket, connection, messages } = await join({ messagesPerSecond: 1, onExceeded: 'pause' });
    send(socket, 1, 2, 3);
    void pool.drainConnections();
    connection.terminate();
    expect([messages, pool.stats().messagesIgnored, pool.stats().connections]).toEqual([['1'], 2, 0]);
  });

  test('waiting messages are delivered after the connection has left the pool', async () => {
    const { pool, socket, connection, messages } = await join({ messagesPerSecond: 1, onExceeded: 'pause' });
    send(socket, 1, 2, 3);
    await pool.removeConnection(connection);
    expect(messages).toEqual(['1']);
    await vi.advanceTimersByTimeAsync(200);
    expect(messages).toEqual(['1', '2', '3']);
    expect(socket.isPaused).toBe(false);
    send(socket, 4, 5);
    expect(messages).toHaveLength(5);
  });

  test('waiting messages count towards the limit of the pool that the connection joins', async () => {
    const { pool, socket, connection, messages } = await join({ messagesPerSecond: 1, onExceeded: 'pause' });
    send(socket, 1, 2, 3, 4, 5);
    await pool.removeConnection(connection);
    await new ConnectionsPool({ rateLimit: { messagesPerSecond: 2, onExceeded: 'pause' } }).newConnection(
      connection,
    );
    await vi.advanceTimersByTimeAsync(250);
    expect(messages).toEqual(['1', '2', '3']);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(messages).toHaveLength(5);
  });

  test('release() ignores waiting messages and resumes the socket', async () => {
    const { pool, socket, connection, messages } = await join({ messagesPerSecond: 1, onExceeded: 'pause' });
    send(socket, 1, 2);
    connection.release();
    await vi.advanceTimersByTimeAsync(3_000);
    expect(messages).toEqual(['1']);
    expect(socket.isPaused).toBe(false);
    expect(pool.stats().messagesIgnored).toBe(1);
  });

  test('messages before the first listener count, and wait for the listener and for the limit', async () => {
    const pool = new ConnectionsPool({ rateLimit: { messagesPerSecond: 2, onExceeded: 'pause' } });
    const socket = new PausableSocket();
    const connection = new Connection('1', 'default', socket);
    await pool.newConnection(connection);
    send(socket, 1, 2, 3, 4);
    expect(socket.isPaused).toBe(true);
    const messages: unknown[] = [];
    connection.on('message', (message) => messages.push(message));
    await vi.advanceTimersByTimeAsync(1);
    expect(messages).toEqual(['1', '2']);
    await vi.advanceTimersByTimeAsync(1_300);
    expect(messages).toEqual(['1', '2', '3', '4']);
    expect(socket.isPaused).toBe(false);
  });

  test('messages that wait for longer than closeTimeout are kept while somebody listens', async () => {
    const { pool, socket, messages } = await join(
      { messagesPerSecond: 1, onExceeded: 'pause' },
      { closeTimeout: 500 },
    );
    send(socket, 1, 2, 3, 4);
    await vi.advanceTimersByTimeAsync(3_500);
    expect(messages).toHaveLength(4);
    expect(pool.stats().messagesIgnored).toBe(0);
  });

  test('waiting messages are given up after closeTimeout when the listener is removed', async () => {
    const { pool, socket, connection } = await join(
      { messagesPerSecond: 1, onExceeded: 'pause' },
      { closeTimeout: 500 },
    );
    send(socket, 1, 2, 3);
    connection.removeAllListeners('message');
    await vi.advanceTimersByTimeAsync(1_500);
    expect(pool.stats()).toMatchObject({ messagesReceived: 1, messagesIgnored: 2 });
    expect(socket.isPaused).toBe(false);
  });

  test('messages that wait keep their closeTimeout after the last look at them when the listener is removed', async () => {
    const { pool, socket, connection } = await join(
      { bytesPerSecond: 10, onExceeded: 'pause' },
      { closeTimeout: 1_000 },
    );
    send(socket, 'x'.repeat(40));
    await vi.advanceTimersByTimeAsync(1_500);
    connection.removeAllListeners('message');
    await vi.advanceTimersByTimeAsync(400);
    expect(pool.stats().messagesIgnored).toBe(0);
    await vi.advanceTimersByTimeAsync(1_500);
    expect(pool.stats()).toMatchObject({ messagesReceived: 0, messagesIgnored: 1 });
  });

  test('a message that waits for the limit is looked at when its tokens are there, not all the time', async () => {
    const { socket, messages } = await join(
      { bytesPerSecond: 10, onExceeded: 'pause' },
      { closeTimeout: 60_000 },
    );
    const schedule = vi.spyOn(wheel, 'schedule');
    send(socket, 'x'.repeat(100));
    await vi.advanceTimersByTimeAsync(11_000);
    expect(messages).toHaveLength(1);
    expect(schedule.mock.calls.length).toBeLessThanOrEqual(5);
  });

  test('a message that waits for the limit is not ignored because other code listens on the socket, too', async () => {
    const { pool, socket, messages } = await join({ messagesPerSecond: 1, onExceeded: 'pause' });
    socket.on('message', () => undefined);
    send(socket, 1, 2);
    await vi.advanceTimersByTimeAsync(1_200);
    expect([messages, pool.stats().messagesIgnored]).toEqual([['1', '2'], 0]);
  });

  // The look at the messages that had been delivered meanwhile took those that had come since for delivered, too: they
  // were lost, and the socket stayed paused.
  test('a listener that adds itself again loses no message that comes right after', async () => {
    const { socket, connection, messages } = await join({ messagesPerSecond: 1, onExceeded: 'pause' });
    const addAgain = (): void => void connection.off('message', addAgain).on('message', addAgain);
    addAgain();
    send(socket, 1, 2);
    vi.advanceTimersByTime(1_200);
    send(socket, 3);
    await vi.advanceTimersByTimeAsync(1_200);
    expect([messages, socket.isPaused]).toEqual([['1', '2', '3'], false]);
  });

  // They were held, and the socket paused, for a listener that had not come in time.
  test('messages above the limit do not pause a socket whose earlier messages were given up', async () => {
    const { pool, socket, connection } = await join(
      { messagesPerSecond: 1, burst: 2, onExceeded: 'pause' },
      { closeTimeout: 500 },
    );
    connection.removeAllListeners('message');
    send(socket, 1);
    await vi.advanceTimersByTimeAsync(800);
    expect(pool.stats().messagesIgnored).toBe(1);
    send(socket, 2, 3, 4);
    expect([socket.isPaused, pool.stats().messagesIgnored]).toEqual([false, 4]);
  });

  test('a close that is reported a second time while messages wait for the limit changes nothing', async () => {
    const { socket, connection, messages } = await join({ messagesPerSecond: 1, onExceeded: 'pause' });
    const closes = vi.fn();
    connection.on('close', closes);
    send(socket, 1, 2);
    socket.emit('close', 4001, Buffer.from('first'));
    socket.emit('close', 4002, Buffer.from('second'));
    expect([messages, closes.mock.calls]).toEqual([['1'], []]);
    await vi.advanceTimersByTimeAsync(1_300);
    expect([messages, closes.mock.calls]).toEqual([['1', '2'], [[4001, 'first']]]);
  });

  test('messages above the limit are dropped if the socket cannot be paused', async () => {
    const socket = new MemorySocket();
    const { pool, messages } = await join({ messagesPerSecond: 1, onExceeded: 'pause' }, {}, socket);
    send(socket, 1, 2, 3);
    await vi.advanceTimersByTimeAsync(1_000);
    send(socket, 4);
    expect(messages).toEqual(['1', '4']);
    expect(pool.stats()).toMatchObject({ messagesIgnored: 2, rateLimited: 2 });
  });

  test('messages above the limit are dropped if pause() of the socket does nothing', async () => {
    class Unpausable extends PausableSocket {
      override pause(): void {
        // Like the `ws` of Bun.
      }
    }
    const { socket, messages } = await join(
      { messagesPerSecond: 1, onExceeded: 'pause' },
      {},
      new Unpausable(),
    );
    send(socket, 1, 2);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(messages).toEqual(['1']);
  });

  test('a socket whose pause() and resume() throw is an error event', async () => {
    class Failing extends PausableSocket {
      override pause(): void {
        this.isPaused = true;
        throw new Error('cannot pause');
      }
    }
    const { pool, socket, connection, messages } = await join(
      { messagesPerSecond: 1, onExceeded: 'pause' },
      {},
      new Failing(),
    );
    const errors: string[] = [];
    connection.on('error', ({ message }) => errors.push(message));
    send(socket, 1, 2);
    expect(errors).toEqual(['cannot pause']);
    expect(messages).toEqual(['1']);
    expect(pool.stats().messagesIgnored).toBe(1);
  });

  test('the messages that a paused socket still delivers are bounded', async () => {
    const { pool, socket } = await join({ messagesPerSecond: 1, onExceeded: 'pause' });
    const large = 'x'.repeat(1024 * 1024);
    send(socket, 1, ...Array<string>(6).fill(large));
    expect(pool.stats().messagesIgnored).toBe(2);
    for (let i = 0; i < 5_000; i++) send(socket, '');
    expect(pool.stats().messagesIgnored).toBeGreaterThan(4_000);
  });

  test('the idle limit and the heartbeat give a paused client ten times their time', async () => {
    const { pool, socket, connection } = await join(
      { bytesPerSecond: 1, onExceeded: 'pause' },
      { heartbeat: { interval: 1_000, timeout: 1_000 } },
      Object.assign(new PausableSocket(), { ping: () => undefined }),
    );
    // A socket that does not say whether it is paused.
    Object.defineProperty(socket, 'isPaused', { get: () => undefined, set: () => undefined });
    send(socket, 'x'.repeat(60));
    await vi.advanceTimersByTimeAsync(9_000);
    expect(connection.closed).toBe(false);
    await vi.advanceTimersByTimeAsync(6_000);
    expect(pool.stats()).toMatchObject({ connections: 0, heartbeatsLost: 1 });
  });
});

describe('a function that decides about messages above the rate limit', () => {
  useFakeClock();

  const decide = (...answers: readonly unknown[]) => {
    const asked: [string, number][] = [];
    const onExceeded = (connection: Connection, { byteLength }: { readonly byteLength: number }) => {
      asked.push([connection.id, byteLength]);
      return answers[asked.length - 1] as RateDecision;
    };
    return { asked, onExceeded };
  };

  test('an onExceeded function gets the connection and the size of each message', async () => {
    const { asked, onExceeded } = decide('accept', 'drop', 'pause');
    const { pool, socket, messages } = await join({ messagesPerSecond: 1, onExceeded });
    send(socket, 1, '22', '333', '4444');
    expect(asked).toEqual([
      ['1', 2],
      ['1', 3],
      ['1', 4],
    ]);
    expect(messages).toEqual(['1', '22']);
    await vi.advanceTimersByTimeAsync(1_300);
    expect(messages).toEqual(['1', '22', '4444']);
    expect(pool.stats()).toMatchObject({ messagesReceived: 3, messagesIgnored: 1, rateLimited: 3 });
  });

  test('onExceeded is not called for messages after one that waits, and they wait too', async () => {
    const { asked, onExceeded } = decide('pause', 'drop');
    const { socket, messages } = await join({ messagesPerSecond: 2, burst: 1, onExceeded });
    send(socket, 1, 2, 3);
    await vi.advanceTimersByTimeAsync(1_300);
    expect(messages).toEqual(['1', '2', '3']);
    expect(asked).toHaveLength(1);
  });

  test.each<[string, (connection: Connection, pool: ConnectionsPool) => void, string[]]>([
    ['closes', (connection) => void connection.close(4000), ['1']],
    ['terminates', (connection) => connection.terminate(), ['1']],
    ['releases', (connection) => connection.release(), ['1']],
    ['removes', (connection, pool) => void pool.removeConnection(connection), ['1', '2', '3']],
  ])(
    'an onExceeded function that %s the connection may still answer accept',
    async (_title, act, expected) => {
      const joined = await join({
        messagesPerSecond: 1,
        onExceeded: (connection) => {
          act(connection, joined.pool);
          return 'accept';
        },
      });
      send(joined.socket, 1, 2, 3);
      expect(joined.messages).toEqual(expected);
    },
  );
});

// Reading a Blob, and learning of a rejection, takes real time.
describe('a rate limit by the clock of the process', () => {
  test('bytesPerSecond counts the payload of texts, bytes and Blobs', async () => {
    const { pool, socket, messages } = await join({ bytesPerSecond: 100, onExceeded: 'drop' });
    send(socket, 'ä'.repeat(20));
    socket.emit('message', Buffer.alloc(30), true);
    socket.emit('message', [Buffer.alloc(5), Buffer.alloc(5)], true);
    socket.emit('message', new Blob(['x'.repeat(15)]), true);
    send(socket, 'y'.repeat(60));
    send(socket, 'z'.repeat(5));
    await expect.poll(() => messages.length).toBe(5);
    expect(messages.map(({ length }) => length)).toEqual([20, 30, 10, 15, 5]);
    expect(pool.stats()).toMatchObject({ bytesReceived: 100, rateLimited: 1 });
  });

  test('a Blob waits for the rate limit in its place', async () => {
    const { socket, messages } = await join({ messagesPerSecond: 100, burst: 1, onExceeded: 'pause' });
    send(socket, 1);
    socket.emit('message', new Blob(['2']), true);
    send(socket, 3);
    await expect.poll(() => messages, { timeout: 5_000 }).toEqual(['1', '2', '3']);
  });

  test.each<[string, () => unknown, string[]]>([
    [
      'throws',
      () => {
        throw new Error('decider failed');
      },
      ['decider failed'],
    ],
    [
      "answers 'send'",
      () => 'send',
      ["Expected onExceeded to answer 'close', 'drop', 'pause' or 'accept', got `send` (string)"],
    ],
    [
      'answers nothing',
      () => undefined,
      ["Expected onExceeded to answer 'close', 'drop', 'pause' or 'accept', got `undefined` (undefined)"],
    ],
    [
      'rejects',
      () => Promise.reject(new Error('no database')),
      [
        "Expected onExceeded to answer 'close', 'drop', 'pause' or 'accept', got `Promise` (object)",
        'no database',
      ],
    ],
  ])(
    'an onExceeded function that %s is an error event, and the connection is closed',
    async (_title, onExceeded, reasons) => {
      const { settle } = watchUnhandled();
      const { pool, socket } = await join({
        messagesPerSecond: 1,
        onExceeded: onExceeded as () => RateDecision,
      });
      const errors: string[] = [];
      pool.on('error', ({ message }) => errors.push(message));
      send(socket, 1, 2, 3);
      expect(await settle()).toEqual([]);
      expect(errors).toEqual(reasons);
      expect(socket.closes).toEqual([{ code: 1008, reason: 'Rate limit exceeded' }]);
    },
  );
});
