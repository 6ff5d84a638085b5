import type { EventEmitter } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool, type ConnectionsPoolOptions } from '../../src/index.js';
import { useFakeClock } from '../support/fake-clock.js';
import { endingWithTest, MemorySocket } from '../support/memory-socket.js';
import { PausableSocket } from '../support/pausable-socket.js';
import { record } from '../support/record.js';
import { watchUnhandled } from '../support/unhandled.js';

const KIB = 1024;

/** Counts how often it was paused, and receives Blobs. */
class BlobSocket extends PausableSocket {
  pauses = 0;

  override pause(): void {
    super.pause();
    this.pauses++;
  }

  blob(message: string): void {
    this.emit('message', new Blob([message]), true);
  }
}

async function join(socket = new BlobSocket(), options = {}) {
  endingWithTest(socket);
  const pool = new ConnectionsPool<string, Connection<string, string, MemorySocket>>(options);
  const connection = new Connection<string, string, BlobSocket>('1', 'default', socket);
  await pool.newConnection(connection);
  return { socket, connection, pool };
}

/** The messages that a listener gets, as text. */
function messagesOf(connection: EventEmitter): string[] {
  const messages: string[] = [];
  connection.on('message', (message: string | Uint8Array) =>
    messages.push(Buffer.from(message as string).toString()),
  );
  return messages;
}

describe('the deadline of held messages', () => {
  useFakeClock();

  // A Blob was held again and again, although nobody had listened in time.
  test('a Blob that comes after held messages were given up is ignored', async () => {
    const { socket, pool } = await join(new BlobSocket(), { closeTimeout: 1_000 });
    socket.text('early');
    await vi.advanceTimersByTimeAsync(1_300);
    socket.blob('nobody yet');
    expect(pool.stats().messagesIgnored).toBe(2);
  });

  test('held messages are given up after closeTimeout, and later ones are ignored', async () => {
    const { socket, connection, pool } = await join(new BlobSocket(), { closeTimeout: 1_000 });
    socket.text('early');
    await vi.advanceTimersByTimeAsync(900);
    expect(pool.stats().messagesIgnored).toBe(0);
    await vi.advanceTimersByTimeAsync(400);
    expect(pool.stats().messagesIgnored).toBe(1);
    socket.text('nobody yet');
    expect(pool.stats().messagesIgnored).toBe(2);
    const messages = messagesOf(connection);
    await vi.advanceTimersByTimeAsync(10);
    socket.text('now');
    expect(messages).toEqual(['now']);
    expect(pool.stats()).toMatchObject({ messagesReceived: 1, messagesIgnored: 2 });
  });

  test('a socket that was paused for held messages is resumed when they are given up', async () => {
    const { socket, pool } = await join(new BlobSocket(), { closeTimeout: 1_000 });
    socket.text('x'.repeat(65 * KIB));
    expect(socket.isPaused).toBe(true);
    await vi.advanceTimersByTimeAsync(1_300);
    expect(socket.isPaused).toBe(false);
    expect(pool.stats().messagesIgnored).toBe(1);
  });

  test('held messages are kept for their time although the connection has shorter deadlines of its own', async () => {
    const options = { closeTimeout: 10_000, idleTimeout: 1_000 };
    const { socket, connection, pool } = await join(new BlobSocket(), options);
    for (const text of ['1', '2', '3']) {
      socket.text(text);
      await vi.advanceTimersByTimeAsync(900);
    }
    expect(pool.stats().messagesIgnored).toBe(0);
    expect(connection.closed).toBe(false);
    const messages = messagesOf(connection);
    await vi.advanceTimersByTimeAsync(1);
    expect(messages).toEqual(['1', '2', '3']);
  });

  test('a connection in no pool holds messages for 10 s', async () => {
    const socket = endingWithTest(new BlobSocket());
    const connection = new Connection('1', 'default', socket);
    socket.text('early');
    await vi.advanceTimersByTimeAsync(9_900);
    const messages = messagesOf(connection);
    await vi.advanceTimersByTimeAsync(1);
    expect(messages).toEqual(['early']);
  });

  test('the deadline of held messages does not affect a listener that was added in time', async () => {
    const { socket, connection, pool } = await join(new BlobSocket(), { closeTimeout: 1_000 });
    socket.text('early');
    const messages = messagesOf(connection);
    await vi.advanceTimersByTimeAsync(3_000);
    socket.text('later');
    expect(messages).toEqual(['early', 'later']);
    expect(pool.stats().messagesIgnored).toBe(0);
  });
});

// A client that sent something right after its handshake lost it whenever the server awaited anything, such as
// newConnection(), before it listened for messages.
describe('messages before the first listener', () => {
  test('early messages are delivered in order, before later ones, and exactly once', async () => {
    const { socket, connection, pool } = await join();
    for (const text of ['a', 'b', 'c']) socket.text(text);
    const messages = messagesOf(connection);
    socket.text('d');
    await nextTurn();
    socket.text('e');
    expect(messages).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(pool.stats()).toMatchObject({ messagesReceived: 5, bytesReceived: 5, messagesIgnored: 0 });
  });

  test('early messages are not delivered before the call that adds the listener returns', () => {
    const socket = endingWithTest(new BlobSocket());
    const connection = new Connection('1', 'default', socket);
    socket.text('early');
    const messages = messagesOf(connection);
    expect(messages).toEqual([]);
  });

  test('up to 64 KiB are held without pausing the socket', async () => {
    const { socket, connection } = await join();
    for (let i = 0; i < 64; i++) socket.text('x'.repeat(KIB));
    expect(socket.pauses).toBe(0);
    const messages = messagesOf(connection);
    await nextTurn();
    expect(messages).toHaveLength(64);
    expect(socket.pauses).toBe(0);
  });

  test('a socket that holds more than 64 KiB is paused, and resumed when a listener has got all of it', async () => {
    const { socket, connection, pool } = await join();
    for (let i = 0; i < 64; i++) socket.text('x'.repeat(KIB));
    socket.text('one too many');
    expect([socket.isPaused, socket.pauses]).toEqual([true, 1]);
    // Messages that the socket has already read still arrive.
    socket.text('on the way');
    expect(socket.pauses).toBe(1);
    const messages = messagesOf(connection);
    await nextTurn();
    expect(messages).toHaveLength(66);
    expect(messages.slice(64)).toEqual(['one too many', 'on the way']);
    expect(socket.isPaused).toBe(false);
    expect(pool.stats()).toMatchObject({ messagesReceived: 66, messagesIgnored: 0 });
  });

  test('messages above 64 KiB are ignored if the socket cannot be paused, and smaller ones still fit', async () => {
    const socket = endingWithTest(new MemorySocket());
    const pool = new ConnectionsPool();
    const connection = new Connection('1', 'default', socket);
    await pool.newConnection(connection);
    const text = (message: string): unknown => socket.emit('message', Buffer.from(message), false);
    text('x'.repeat(60 * KIB));
    text('y'.repeat(5 * KIB));
    text('small');
    expect(pool.stats().messagesIgnored).toBe(1);
    const messages = messagesOf(connection);
    await nextTurn();
    expect(messages.map(({ length }) => length)).toEqual([60 * KIB, 5]);
    text('after');
    expect(messages.at(-1)).toBe('after');
    expect(pool.stats()).toMatchObject({ messagesReceived: 3, messagesIgnored: 1 });
  });

  test('once() gets the first early message, and the rest waits for the next listener', async () => {
    const { socket, connection } = await join();
    for (const text of ['a', 'b', 'c']) socket.text(text);
    const first: unknown[] = [];
    connection.once('message', (message) => first.push(message));
    await nextTurn();
    expect(first).toEqual(['a']);
    socket.text('d');
    const rest = messagesOf(connection);
    await nextTurn();
    expect(rest).toEqual(['b', 'c', 'd']);
    expect(first).toEqual(['a']);
  });

  test('prependListener() gets early messages like on()', async () => {
    const { socket, connection } = await join();
    socket.text('early');
    const messages: unknown[] = [];
    connection.prependListener('message', (message) => messages.push(message));
    await nextTurn();
    expect(messages).toEqual(['early']);
  });

  test('all listeners that are added in one turn get the early messages', async () => {
    const { socket, connection } = await join();
    socket.text('early');
    const [one, two] = [messagesOf(connection), messagesOf(connection)];
    await nextTurn();
    expect([one, two]).toEqual([['early'], ['early']]);
  });

  test('a listener that is added by another message listener gets only later messages', async () => {
    const { socket, connection } = await join();
    for (const text of ['a', 'b', 'c']) socket.text(text);
    const [outer, inner]: [unknown[], unknown[]] = [[], []];
    connection.on('message', (message) => {
      outer.push(message);
      if (message === 'a') connection.on('message', (later) => inner.push(later));
    });
    await nextTurn();
    expect(outer).toEqual(['a', 'b', 'c']);
    expect(inner).toEqual(['b', 'c']);
  });

  test('a listener that is added by a connection listener of the pool gets early messages', async () => {
    const socket = endingWithTest(new BlobSocket());
    const pool = new ConnectionsPool();
    const connection = new Connection('1', 'default', socket);
    socket.text('early');
    const messages: unknown[] = [];
    pool.on('connection', (joined) => joined.on('message', (message) => messages.push(message)));
    await pool.newConnection(connection);
    await nextTurn();
    expect(messages).toEqual(['early']);
  });

  test('a listener that throws for one early message still gets the next one', async () => {
    const { socket, connection } = await join();
    const events: unknown[] = [];
    connection.on('error', ({ message }) => events.push(message));
    for (const text of ['a', 'b']) socket.text(text);
    connection.on('message', (message) => {
      events.push(message);
      if (message === 'a') throw new Error('listener failed');
    });
    await nextTurn();
    expect(events).toEqual(['a', 'listener failed', 'b']);
  });

  test('a listener that closes the connection on an early message gets no further one', async () => {
    const { socket, connection, pool } = await join();
    for (const text of ['a', 'b', 'c']) socket.text(text);
    const messages: unknown[] = [];
    connection.on('message', (message) => {
      messages.push(message);
      void connection.close(4000);
    });
    await nextTurn();
    await connection.close();
    expect(messages).toEqual(['a']);
    expect(pool.stats()).toMatchObject({ messagesReceived: 1, messagesIgnored: 2 });
  });

  test('a socket that closes right after a listener was added still delivers early messages before the close', async () => {
    const { socket, connection } = await join();
    socket.text('early');
    const events = record(connection);
    socket.end(4000, 'bye');
    expect(events).toEqual([
      ['message', 'early', false],
      ['close', 4000, 'bye'],
    ]);
    await nextTurn();
    expect(events).toHaveLength(2);
  });

  test('early messages are ignored when the socket closes before anybody listens', async () => {
    const { socket, connection, pool } = await join();
    socket.text('a');
    socket.text('b');
    socket.end(4000);
    const messages = messagesOf(connection);
    await nextTurn();
    expect(messages).toEqual([]);
    expect(pool.stats()).toMatchObject({ connections: 0, messagesReceived: 0, messagesIgnored: 2 });
  });

  test('early messages are ignored, and the socket resumed, when our side closes', async () => {
    const { socket, connection, pool } = await join();
    socket.text('x'.repeat(65 * KIB));
    const closed = connection.close(4000);
    const messages = messagesOf(connection);
    await closed;
    expect(messages).toEqual([]);
    expect(socket.isPaused).toBe(false);
    expect(pool.stats()).toMatchObject({ messagesReceived: 0, messagesIgnored: 1 });
  });

  test('early messages of a released connection are ignored, and its socket is resumed', async () => {
    const { socket, connection, pool } = await join();
    socket.text('x'.repeat(65 * KIB));
    expect(socket.isPaused).toBe(true);
    connection.release();
    expect(socket.isPaused).toBe(false);
    const messages = messagesOf(connection);
    await nextTurn();
    expect(messages).toEqual([]);
    expect(pool.stats().messagesIgnored).toBe(1);
  });

  test('no message is held for a socket on which other code listens for messages', async () => {
    const { socket, connection, pool } = await join();
    const others: unknown[] = [];
    socket.on('message', (data: Buffer) => others.push(data.toString()));
    socket.text('for the other');
    for (let i = 0; i < 10; i++) socket.text('x'.repeat(10 * KIB));
    expect(socket.pauses).toBe(0);
    const messages = messagesOf(connection);
    await nextTurn();
    socket.text('for both');
    expect(messages).toEqual(['for both']);
    expect(others[0]).toBe('for the other');
    expect(pool.stats()).toMatchObject({ messagesReceived: 1, messagesIgnored: 11 });
  });

  test('messages that are held already are followed by later ones although other code has begun to listen', async () => {
    const { socket, connection } = await join();
    socket.text('1');
    socket.on('message', () => undefined);
    socket.text('2');
    const messages = messagesOf(connection);
    await nextTurn();
    expect(messages).toEqual(['1', '2']);
  });

  test('a message for which somebody listens is delivered without being held', async () => {
    const { socket, connection } = await join();
    const hooks: number[] = [];
    connection.on('message', () => hooks.push(connection.listenerCount('newListener')));
    socket.text('1');
    expect(hooks).toEqual([0]);
  });

  test('the newListener hook is gone when the early messages are delivered', async () => {
    const { socket, connection } = await join();
    expect(connection.eventNames()).toEqual([]);
    socket.text('early');
    const messages = messagesOf(connection);
    await nextTurn();
    expect(messages).toEqual(['early']);
    expect(connection.eventNames()).toEqual(['message']);
  });

  test('messages that the owner of a socket forwards are held, too', async () => {
    const pool = new ConnectionsPool();
    const connection = new Connection('1', 'default', { send: () => undefined, close: () => undefined });
    await pool.newConnection(connection);
    connection.handleMessage('text');
    connection.handleMessage(Uint8Array.from([1, 2]).buffer, true);
    const events = record(connection);
    await nextTurn();
    expect(events).toEqual([
      ['message', 'text', false],
      ['message', Buffer.from([1, 2]), true],
    ]);
    connection.handleClose(1000);
  });
});

// With `binaryType = 'blob'`, which another library on the same socket may set, every binary message was an `error`
// event and lost.
describe('messages that are a Blob', () => {
  test('a Blob is delivered as bytes', async () => {
    const { socket, connection, pool } = await join();
    const events = record(connection);
    socket.blob('bytes');
    await expect.poll(() => events).toEqual([['message', Buffer.from('bytes'), true]]);
    expect(pool.stats()).toMatchObject({ messagesReceived: 1, bytesReceived: 5, errors: 0 });
  });

  test('a Blob is delivered although other code listens on the socket, too', async () => {
    const { socket, connection } = await join();
    const messages = messagesOf(connection);
    socket.on('message', () => undefined);
    socket.blob('blob');
    await expect.poll(() => messages).toEqual(['blob']);
  });

  test('Blobs and other messages are delivered in the order of their arrival', async () => {
    const { socket, connection } = await join();
    const messages = messagesOf(connection);
    for (let i = 0; i < 20; i++) {
      if (i % 3 === 0) socket.blob(`${i} ${'x'.repeat(i * 1_000)}`);
      else socket.text(String(i));
    }
    await expect.poll(() => messages.length).toBe(20);
    expect(messages.map((message) => Number(message.split(' ')[0]))).toEqual([...Array(20).keys()]);
    socket.text('later');
    expect(messages.at(-1)).toBe('later');
  });

  test('Blobs and other messages that come before the first listener are delivered in order', async () => {
    const { socket, connection } = await join();
    socket.text('a');
    socket.blob('b');
    socket.text('c');
    const messages = messagesOf(connection);
    socket.text('d');
    await expect.poll(() => messages).toEqual(['a', 'b', 'c', 'd']);
  });

  test('a Blob that is still being read when our side closes is ignored', async () => {
    const { socket, connection, pool } = await join();
    const messages = messagesOf(connection);
    socket.blob('late');
    await connection.close(4000);
    await nextTurn();
    await nextTurn();
    expect(messages).toEqual([]);
    expect(pool.stats()).toMatchObject({ messagesReceived: 0, messagesIgnored: 1 });
  });

  test('a Blob that cannot be read is an error event, and the messages after it arrive', async () => {
    const unhandled = watchUnhandled();
    const { socket, connection } = await join();
    const errors: string[] = [];
    connection.on('error', ({ message }) => errors.push(message));
    const messages = messagesOf(connection);
    const blob = new Blob(['x']);
    blob.arrayBuffer = () => Promise.reject(new Error('unreadable'));
    socket.emit('message', blob, true);
    socket.text('next');
    await expect.poll(() => messages).toEqual(['next']);
    expect(errors).toEqual(['unreadable']);
    expect(await unhandled.settle()).toEqual([]);
  });
});

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

  // The first message logged the client in; then the server removed all listeners and added those of the game. That
  // also removed the library's own listener: held messages, and everything after them, were never delivered.
  test('a listener that is added after removeAllListeners() gets the held messages with the next message', async () => {
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

  test('a listener that is added after removeAllListeners() gets the messages held for a paused socket, which is resumed', async () => {
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

  // A server had no listener when the client spoke first, and later read message by message with `once`. Because the
  // first messages had been given up, everything that arrived between two calls was ignored.
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

  // A second connection over the same socket was mistaken for other code that listens: early messages were ignored.
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

  // A client that only receives pushes had sent more than the library holds. Its socket stayed paused during a drain
  // and did not read the answer to the close frame: it was terminated instead of closed.
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
