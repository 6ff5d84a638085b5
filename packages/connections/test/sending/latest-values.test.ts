import assert from 'node:assert/strict';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import {
  Connection,
  ConnectionsPool,
  type BroadcastResult,
  type ConnectionsPoolOptions,
  type WebSocketMessage,
} from '../../src/index.js';
import { LatestValues } from '../../src/sending/latest-values.js';
import { PrivateMessage } from '../../src/sending/delivery.js';
import { Envelope } from '../../src/sending/envelope.js';
import { FakeWsSocket } from '../support/fake-ws-socket.js';
import { MemorySocket } from '../support/memory-socket.js';
import { Random } from '../support/random.js';
import { runs } from '../support/runs.js';

const BEHIND = 100_000;
const SENT = { recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 };
const HELD = { recipients: 1, sent: 0, dropped: 0, failed: 0, conflated: 1 };

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** One member on a socket that takes whole frames, and a way to set how much waits in it. */
function oneReader(options?: ConnectionsPoolOptions<Connection>): {
  readonly pool: ConnectionsPool;
  readonly connection: Connection;
  readonly socket: FakeWsSocket;
  readonly texts: () => string;
  readonly setWaiting: (bytes: number) => void;
} {
  const pool = new ConnectionsPool(options);
  const socket = new FakeWsSocket();
  const connection = new Connection('a', 'default', socket);
  void pool.newConnection(connection);
  const texts = (): string => {
    const { bytes } = socket._socket;
    let text = '';
    for (let at = 0; at < bytes.length; at += 2 + bytes[at + 1]!)
      text += `${bytes.toString('latin1', at + 2, at + 2 + bytes[at + 1]!)} `;
    return text.trim();
  };
  return { pool, connection, socket, texts, setWaiting: (bytes) => (socket._socket.writableLength = bytes) };
}

test('messages are held in order, and a newer one takes the place of the one under its key', () => {
  const values = new LatestValues();
  const message = (text: string): PrivateMessage => new PrivateMessage(new Envelope(text), 'k');
  const old = message('old');
  expect([values.hold('a', old, 0), values.hold('b', message('b'), 1)]).toEqual([false, false]);
  expect([values.size, values.byteLength, values.costOf('a', 7), values.costOf('c', 7)]).toEqual([
    2, 8, 2, 777,
  ]);
  expect(values.hold('a', message('newer'), 2)).toBe(true);
  expect([old.outcome, values.byteLength, values.has('a'), values.has('c')]).toEqual([
    false,
    10,
    true,
    false,
  ]);
  const taken = values.take(7);
  expect(taken.map(({ envelope, conflate }) => [envelope.message, conflate])).toEqual([['newer', undefined]]);
  expect([values.size, values.byteLength]).toEqual([1, 3]);
  expect(values.take(0).map(({ envelope }) => envelope.message)).toEqual(['b']);
});

test('held values are taken up to a number of bytes, and up to a position', () => {
  const values = new LatestValues();
  const hold = (key: string, text: string, position: number): void =>
    void values.hold(key, new PrivateMessage(new Envelope(text), key), position);
  const take = (maxBytes: number, position?: number): unknown[] =>
    values.take(maxBytes, position).map(({ envelope }) => envelope.message);
  expect([values.position, take(100)]).toEqual([Infinity, []]);
  hold('a', 'aa', 0);
  hold('bbbb', 'bb', 5);
  hold('c', 'cc', 9);
  hold('d', 'dd', 9);
  expect(values.position).toBe(0);
  expect(take(100, -1)).toEqual([]);
  // Frames of four bytes each.
  expect(take(8, 8)).toEqual(['aa', 'bb']);
  expect([values.position, take(7, 9), take(100, 9)]).toEqual([9, ['cc'], ['dd']]);
  expect([values.position, values.size, values.byteLength, values.cost]).toEqual([Infinity, 0, 0, 0]);
});

test('a held value counts with the memory of its key, and a discarded value no longer counts', () => {
  const values = new LatestValues();
  const message = new PrivateMessage(new Envelope('x'), 'key');
  expect(values.discard('key')).toBe(false);
  values.hold('key', message, 0);
  expect([values.byteLength, values.cost, values.costOf('other key', 3)]).toEqual([3, 777, 789]);
  expect([values.discard('key'), values.discard('key'), message.outcome]).toEqual([true, false, false]);
  expect([values.byteLength, values.cost, values.size, values.has('key')]).toEqual([0, 0, 0, false]);
});

test('a reader that keeps up gets every message', async () => {
  const { pool, connection, texts } = oneReader();
  const results = ['1', '2', '3'].map((text) => pool.broadcastMessage('default', text, { conflate: 'k' }));
  expect(connection.send('4', { conflate: 'k' })).toBeInstanceOf(Promise);
  pool.flush();
  for (const result of results) expect(await result).toEqual(SENT);
  expect(texts()).toBe('1 2 3 4');
  expect(pool.stats()).toMatchObject({ conflated: 0, superseded: 0 });
});

test('a reader that is behind gets the latest value when it has room, instead of the first', async () => {
  const { pool, connection, texts, setWaiting } = oneReader();
  setWaiting(BEHIND);
  const results: Promise<BroadcastResult>[] = [];
  for (const [text, key] of [
    ['a1', 'a'],
    ['b1', 'b'],
    ['a2', 'a'],
  ] as const)
    results.push(pool.broadcastMessage('default', text, { conflate: key }));
  pool.flush();
  for (const result of results) expect(await result).toEqual(HELD);
  const replaced = connection.send('b2', { conflate: 'b' });
  const last = connection.sendJson(3, { conflate: 'b' });
  expect(await replaced).toBe(false);
  expect(await connection.send('without key')).toBe(true);
  expect(texts()).toBe('without key');
  expect(connection.bufferedAmount).toBe(BEHIND + 4 + 3);
  setWaiting(0);
  vi.advanceTimersByTime(10);
  expect(await last).toBe(true);
  expect(texts()).toBe('without key a2 3');
  expect(pool.stats()).toMatchObject({ conflated: 5, superseded: 3 });
});

test('held values leave before the messages of the next turn', () => {
  const { pool, texts, setWaiting } = oneReader();
  setWaiting(BEHIND);
  void pool.broadcastMessage('default', 'held', { conflate: 'k' });
  pool.flush();
  setWaiting(0);
  void pool.broadcastMessage('default', 'next');
  pool.flush();
  expect(texts()).toBe('held next');
});

test.each([
  ['closes', ({ connection }: { connection: Connection }) => void connection.close()],
  [
    'is removed',
    ({ pool, connection }: { pool: ConnectionsPool; connection: Connection }) =>
      void pool.removeConnection(connection),
  ],
  ['is released', ({ connection }: { connection: Connection }) => connection.release()],
])('a connection that %s sends held values first, and their promises resolve true', async (_, end) => {
  const reader = oneReader();
  reader.setWaiting(BEHIND);
  const held = reader.connection.send('held', { conflate: 'k' });
  void reader.pool.broadcastMessage('default', 'pending', { conflate: 'other' });
  end(reader);
  expect(await held).toBe(true);
  expect(reader.texts()).toBe('held pending');
});

test('sends of held values resolve false when the connection ends', async () => {
  const { connection, setWaiting, texts } = oneReader();
  setWaiting(BEHIND);
  const held = connection.send('held', { conflate: 'k' });
  connection.terminate();
  expect([await held, texts()]).toEqual([false, '']);
});

test('held values count towards the bound, and a newer value only with what it adds', async () => {
  const { pool, connection, setWaiting } = oneReader({ maxBufferedBytes: BEHIND + 2_000, onSlow: 'drop' });
  setWaiting(BEHIND);
  const send = (bytes: number, conflate: string): Promise<boolean> =>
    connection.send('x'.repeat(bytes), { conflate });
  void send(400, 'a');
  expect(await send(500, 'b')).toBe(false);
  void send(600, 'a');
  expect(pool.stats()).toMatchObject({ conflated: 2, superseded: 1, dropped: 1 });
  expect(await connection.send('x'.repeat(700))).toBe(false);
  expect(await send(1_300, 'a')).toBe(false);
});

test.each(['send', 'broadcast'] as const)(
  'a newer value by %s that does not fit is dropped, and the older one is not delivered instead',
  async (way) => {
    // With `onSlow: 'drop'` the newest value was lost, and the outdated one arrived as if it were the latest.
    const { pool, connection, texts, setWaiting } = oneReader({
      maxBufferedBytes: BEHIND + 1_000,
      onSlow: 'drop',
    });
    setWaiting(BEHIND);
    const old = connection.send('old', { conflate: 'k' });
    const [other, tooLarge] = ['other', 'x'.repeat(1_000)];
    if (way === 'send') expect(await connection.send(tooLarge, { conflate: 'k' })).toBe(false);
    else {
      const result = pool.broadcastMessage('default', tooLarge, { conflate: 'k' });
      pool.flush();
      expect(await result).toMatchObject({ dropped: 1, conflated: 0 });
    }
    expect(await old).toBe(false);
    // The dropped value has made room.
    const next = connection.send(other, { conflate: 'other' });
    setWaiting(0);
    vi.advanceTimersByTime(20);
    expect([await next, texts()]).toEqual([true, 'other']);
    expect(pool.stats()).toMatchObject({ conflated: 2, superseded: 1, dropped: 1 });
  },
);

test('a value that user code sends during a flush replaces the held one if that makes room', async () => {
  // The newer value was measured as if the older one stayed, and dropped.
  const newer: Promise<boolean>[] = [];
  const { pool, connection, socket, setWaiting } = oneReader({
    maxBufferedBytes: BEHIND + 3_000,
    onSlow: (reader) => {
      newer.push(reader.send('y'.repeat(2_000), { conflate: 'k' }));
      return 'drop';
    },
  });
  setWaiting(BEHIND);
  const older = connection.send('x'.repeat(2_000), { conflate: 'k' });
  void pool.broadcastMessage('default', 'z'.repeat(5_000));
  pool.flush();
  expect(await older).toBe(false);
  setWaiting(0);
  vi.advanceTimersByTime(20);
  expect(await Promise.all(newer)).toEqual([true]);
  expect(socket._socket.bytes.toString('latin1', 4)).toBe('y'.repeat(2_000));
});

test('bufferedAmount counts a held value until it has left', () => {
  const { connection, texts, setWaiting } = oneReader();
  setWaiting(BEHIND);
  void connection.send('value', { conflate: 'k' });
  expect(connection.bufferedAmount).toBe(BEHIND + 7);
  setWaiting(0);
  connection.release();
  expect([texts(), connection.bufferedAmount]).toEqual(['value', 0]);
});

test('a connection that was removed from its pool and stays open still holds values back', async () => {
  const { pool, connection, texts, setWaiting } = oneReader();
  await pool.removeConnection(connection);
  setWaiting(BEHIND);
  const sent = ['1', '2'].map((text) => connection.send(text, { conflate: 'k' }));
  expect(texts()).toBe('');
  setWaiting(0);
  vi.advanceTimersByTime(10);
  expect(texts()).toBe('2');
  expect(await Promise.all(sent)).toEqual([false, true]);
});

test('a reader that is never idle gets a held value when the messages before it have left', () => {
  const { pool, connection, texts, socket, setWaiting } = oneReader();
  const tcp = socket._socket;
  tcp.bytesWritten = 2 * BEHIND;
  setWaiting(BEHIND);
  void connection.send('held', { conflate: 'k' });
  // The reader continues to read, and as much is sent to it.
  tcp.bytesWritten += BEHIND - 1;
  void pool.broadcastMessage('default', '1');
  pool.flush();
  expect(texts()).toBe('1');
  tcp.bytesWritten += BEHIND;
  void pool.broadcastMessage('default', '2');
  pool.flush();
  expect(texts()).toBe('1 held 2');
});

test('a policy that closes the connection in the middle of a flush loses no held value', async () => {
  const reader = oneReader({ maxBufferedBytes: BEHIND + 3_000 });
  reader.setWaiting(BEHIND);
  const held = reader.connection.send('held', { conflate: 'k' });
  void reader.pool.broadcastMessage('default', 'x'.repeat(10_000));
  reader.pool.flush();
  expect(await held).toBe(true);
  expect(reader.texts()).toBe('held');
});

test('the number of keys is bounded, although their messages are small', () => {
  const { pool, connection, setWaiting } = oneReader({ maxBufferedBytes: BEHIND + 100_000, onSlow: 'drop' });
  setWaiting(BEHIND);
  for (let key = 0; key < 500; key++) void connection.send('', { conflate: String(key) });
  expect(pool.stats().conflated).toBeLessThan(200);
});

test('a reader counts as behind above conflateAboveBytes', () => {
  const { pool, connection, texts, setWaiting } = oneReader({ conflateAboveBytes: 10 });
  setWaiting(10);
  void connection.send('sent', { conflate: 'k' });
  setWaiting(11);
  void connection.send('held', { conflate: 'k' });
  expect(texts()).toBe('sent');
  expect(pool.stats().conflated).toBe(1);
});

test('held values leave in parts that do not fill the socket again', () => {
  const { connection, texts, setWaiting, pool } = oneReader({ conflateAboveBytes: 10 });
  setWaiting(11);
  for (const key of ['a', 'b', 'c', 'd', 'e']) void connection.send(key, { conflate: key });
  setWaiting(0);
  vi.advanceTimersByTime(10);
  expect(texts()).toBe('a b c');
  vi.advanceTimersByTime(10);
  expect(texts()).toBe('a b c d e');
  expect(pool.stats().conflated).toBe(5);
});

test('a newer value of a key that still waits does not overtake it when the reader has room again', async () => {
  const { connection, texts, setWaiting } = oneReader({ conflateAboveBytes: 10 });
  setWaiting(11);
  const keys = ['a', 'b', 'c', 'd', 'e'];
  for (const key of keys) void connection.send(key, { conflate: key });
  setWaiting(0);
  const newer = connection.send('E', { conflate: 'e' });
  expect(texts()).toBe('a b c');
  vi.advanceTimersByTime(10);
  expect(texts()).toBe('a b c d E');
  expect(await newer).toBe(true);
});

test('a connection that is in no pool holds values back, too', async () => {
  const socket = new FakeWsSocket();
  const connection = new Connection('a', 'default', socket);
  socket._socket.writableLength = BEHIND;
  const sent = ['1', '2'].map((text) => connection.send(text, { conflate: 'k' }));
  expect(socket._socket.bytesWritten).toBe(0);
  expect(await connection.send('without a key')).toBe(true);
  socket._socket.writableLength = 0;
  vi.advanceTimersByTime(10);
  expect(await Promise.all(sent)).toEqual([false, true]);
  expect(socket._socket.bytes.toString('latin1')).toBe('\x81\x0dwithout a key\x81\x012');
});

test('held values leave when the stream says that it has drained, without a timer', () => {
  const { connection, socket, texts, setWaiting } = oneReader();
  socket._socket.writableNeedDrain = true;
  const once = vi.spyOn(socket._socket, 'once');
  setWaiting(BEHIND);
  void connection.send('held', { conflate: 'k' });
  expect(once.mock.calls).toEqual([['drain', expect.any(Function)]]);
  expect(vi.getTimerCount()).toBe(0);
  setWaiting(0);
  once.mock.calls[0]![1]();
  expect(texts()).toBe('held');
});

test('a value that is held when its connection is terminated by onSlow is not sent to the socket', async () => {
  const { connection, socket, setWaiting } = oneReader({
    maxBufferedBytes: BEHIND,
    onSlow: (slow) => {
      slow.terminate();
      return 'send';
    },
  });
  setWaiting(BEHIND);
  expect(await connection.send('x'.repeat(100), { conflate: 'k' })).toBe(false);
  expect([socket.sent, socket._socket.bytesWritten]).toEqual([[], 0]);
});

test('a held value whose write throws, when the policy closes the connection, goes nowhere else', async () => {
  const reader = oneReader({ maxBufferedBytes: BEHIND + 3_000 });
  reader.connection.on('error', () => undefined);
  reader.setWaiting(BEHIND);
  const held = ['a', 'b'].map((key) => reader.connection.send(key, { conflate: key }));
  const write = vi.spyOn(reader.socket._socket, 'write').mockImplementation(() => {
    throw new Error('broken');
  });
  void reader.pool.broadcastMessage('default', 'x'.repeat(10_000));
  reader.pool.flush();
  expect(await Promise.all(held)).toEqual([false, false]);
  expect(write).toHaveBeenCalledTimes(1);
  expect(reader.socket.sent).toEqual([]);
});

test('handlers, an overridden send and sockets without bufferedAmount never conflate', async () => {
  class Overridden extends Connection {
    override send(message: WebSocketMessage): Promise<boolean> {
      return super.send(message, { conflate: 'k' });
    }
  }
  const sent: unknown[] = [];
  const handlers = { send: (message: unknown) => void sent.push(message), close: () => undefined };
  const [full, overridden] = [new MemorySocket(), new FakeWsSocket()];
  full.bufferedAmount = BEHIND;
  overridden._socket.writableLength = BEHIND;
  const silent = {
    send: (message: unknown) => void sent.push(message),
    close: () => undefined,
    on: () => undefined,
  };
  const pool = new ConnectionsPool();
  const connections = [
    new Connection('a', 'default', full, handlers),
    new Connection('b', 'default', silent),
    new Overridden('c', 'default', overridden),
  ];
  for (const connection of connections) await pool.newConnection(connection);
  const result = pool.broadcastMessage('default', '1', { conflate: 'k' });
  expect(await result).toMatchObject({ recipients: 3, sent: 3, conflated: 0 });
  expect(sent).toEqual(['1', '1']);
  expect(overridden._socket.bytes.toString('latin1', 2)).toBe('1');
});

test('a generic socket with bufferedAmount conflates', async () => {
  const socket = new MemorySocket();
  const connection = new Connection('a', 'default', socket);
  const pool = new ConnectionsPool();
  await pool.newConnection(connection);
  socket.bufferedAmount = BEHIND;
  for (const text of ['1', '2']) void pool.broadcastMessage('default', text, { conflate: 'k' });
  pool.flush();
  expect(socket.sent).toEqual([]);
  socket.bufferedAmount = 0;
  vi.advanceTimersByTime(10);
  expect(socket.sent).toEqual(['2']);
});

test('a reader that stays behind is checked less and less often, and not at all when nothing is held', async () => {
  // Thousands of stalled readers were each checked a hundred times a second.
  const socket = new MemorySocket();
  const connection = new Connection('a', 'default', socket);
  await new ConnectionsPool({ conflateAboveBytes: 10 }).newConnection(connection);
  let looks = 0;
  let waiting = BEHIND;
  Object.defineProperty(socket, 'bufferedAmount', {
    get() {
      looks++;
      return waiting;
    },
  });
  const looksIn = (ms: number): number => {
    looks = 0;
    vi.advanceTimersByTime(ms);
    return looks;
  };
  for (const key of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) void connection.send(`${key}.`, { conflate: key });
  expect(looksIn(9)).toBe(0);
  const perLook = looksIn(1);
  expect(perLook).toBeGreaterThan(0);
  expect([looksIn(19), looksIn(1), looksIn(39), looksIn(1)]).toEqual([0, perLook, 0, perLook]);
  expect(looksIn(2_000) / perLook).toBeCloseTo(20, -1);
  waiting = 0;
  vi.advanceTimersToNextTimer();
  expect(socket.sent).toHaveLength(2);
  // It reads again, so the next check comes soon.
  vi.advanceTimersByTime(10);
  expect(socket.sent).toHaveLength(4);
  vi.advanceTimersByTime(1_000);
  expect([socket.sent.length, vi.getTimerCount(), looksIn(10_000)]).toEqual([7, 0, 0]);
});

/** The promises of the documentation, for one reader. */
class Model {
  readonly out: string[] = [];
  isBehind = false;
  #held = new Map<string, string>();
  #pending: { readonly text: string; readonly key: string | undefined }[] = [];

  broadcast(text: string, key: string | undefined): void {
    this.#pending.push({ text, key });
  }

  send(text: string, key: string | undefined): void {
    if (!this.isBehind && this.#held.size > 0) this.endTurn();
    this.#pending.push({ text, key });
    if (this.#pending.length === 1) this.endTurn();
  }

  endTurn(): void {
    if (!this.isBehind) this.#release();
    for (const { text, key } of this.#pending.splice(0)) {
      if (key !== undefined && this.isBehind) this.#held.set(key, text);
      else this.out.push(text);
    }
  }

  close(): void {
    this.#release();
    this.isBehind = false;
    this.endTurn();
  }

  #release(): void {
    this.out.push(...this.#held.values());
    this.#held.clear();
  }
}

test.each(Array.from({ length: runs({ quick: 15, ci: 200 }) }, (_, seed) => seed))(
  'readers that fall behind and catch up get the messages without key in order, and the latest under each key (seed %i)',
  async (seed) => {
    const random = new Random(seed);
    const { pool, connection, texts, setWaiting } = oneReader();
    const model = new Model();
    const answers: Promise<unknown>[] = [];
    connection.join('red');
    for (let step = 0; step < 60; step++) {
      const text = String(step);
      const key = random.chance(0.6) ? random.pick(['a', 'b', 'c']) : undefined;
      const options = key === undefined ? undefined : { conflate: key };
      const [kind] = random.weighted([
        [4, 'all'],
        [4, 'room'],
        [4, 'send'],
        [5, 'end'],
        [3, 'behind'],
        [2, 'room to read'],
      ]);
      if (kind === 'all') {
        model.broadcast(text, key);
        answers.push(pool.broadcastMessage('default', text, options));
      } else if (kind === 'room') {
        model.broadcast(text, key);
        answers.push(pool.broadcastMessage('default', text, { ...options, rooms: 'red' }));
      } else if (kind === 'send') {
        model.send(text, key);
        answers.push(connection.send(text, options));
      } else if (kind === 'end') {
        model.endTurn();
        pool.flush();
        // If there was nothing to flush, the next check of the socket finds that it has room.
        vi.advanceTimersByTime(100);
      } else {
        model.isBehind = kind === 'behind';
        setWaiting(model.isBehind ? BEHIND : 0);
      }
    }
    model.close();
    void connection.close();
    expect(texts()).toBe(model.out.join(' '));
    for (const answer of await Promise.all(answers)) {
      if (typeof answer === 'boolean') continue;
      const { recipients, sent, conflated } = answer as BroadcastResult;
      assert.deepEqual([recipients, sent + conflated], [1, 1]);
    }
  },
);
