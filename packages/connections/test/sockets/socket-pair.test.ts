import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { socketPair, type PairedSocket, type SocketPair } from '../../src/testing.js';
import { useFakeClock } from '../support/fake-clock.js';
import { Random } from '../support/random.js';
import { runs } from '../support/runs.js';

const LIVES = runs({ quick: 40, ci: 200 });

/** Everything that a socket emits from now on: text as a string, and the event itself for close. */
function recordOf(socket: PairedSocket): unknown[] {
  const events: unknown[] = [];
  socket.on('message', (data: Buffer, isBinary) => events.push(isBinary ? [...data] : data.toString()));
  socket.on('close', (code: number, reason: Buffer) => events.push({ code, reason: reason.toString() }));
  return events;
}

/** Waits until both have closed. */
const closed = ({ server, client }: SocketPair): Promise<unknown> =>
  Promise.all([server, client].map((socket) => once(socket, 'close')));

describe('a pair of sockets in memory', () => {
  test('a socket pair is open from the start, and the client emits open in the next turn', async () => {
    const { server, client } = socketPair();
    expect([server.readyState, client.readyState]).toEqual([server.OPEN, client.OPEN]);
    let isOpen = false;
    client.once('open', () => (isOpen = true));
    expect(isOpen).toBe(false);
    await once(client, 'open');
    expect(isOpen).toBe(true);
  });

  test('a socket pair delivers no message in the turn in which it is sent', async () => {
    const { server, client } = socketPair();
    const events = recordOf(client);
    server.send('hello');
    await Promise.resolve();
    expect(events).toEqual([]);
    expect(server.bufferedAmount).toBe(5);
    await once(client, 'message');
    expect(events).toEqual(['hello']);
    expect(server.bufferedAmount).toBe(0);
  });

  test('a socket pair delivers text and bytes of any kind in order, both ways', async () => {
    const pair = socketPair();
    for (const [from, to] of [[pair.server, pair.client] as const, [pair.client, pair.server] as const]) {
      const events = recordOf(to);
      const bytes = Uint8Array.from([1, 2, 3]);
      from.send('text');
      from.send(bytes);
      from.send(new Blob([Uint8Array.from([4])]));
      from.send(Buffer.from([5]));
      from.send(bytes.buffer);
      from.send(new DataView(bytes.buffer, 1, 1));
      from.send('');
      // The bytes were copied.
      bytes.fill(9);
      await expect.poll(() => events).toEqual(['text', [1, 2, 3], [4], [5], [1, 2, 3], [2], '']);
    }
  });

  test('a socket pair sends bytes as text, and text as bytes, if `binary` says so', async () => {
    // The echo in the documentation of ws: `socket.send(data, { binary: isBinary })`.
    const { server, client } = socketPair();
    const events = recordOf(client);
    server.send(Buffer.from('text'), { binary: false });
    server.send('a', { binary: true });
    await expect.poll(() => events).toEqual(['text', [97]]);
  });

  test.each([5, undefined, null, {}])('send() throws for %o, which is neither text nor bytes', (message) => {
    expect(() => socketPair().server.send(message as never)).toThrow(/Expected text or bytes, got/);
  });

  test('send() calls back when a message is on its way, and with an error once the socket is closing', async () => {
    const { server } = socketPair();
    expect(await new Promise((resolve) => server.send('a', resolve))).toBeUndefined();
    expect(await new Promise((resolve) => server.send('b', {}, resolve))).toBeUndefined();
    server.close();
    expect(await new Promise((resolve) => server.send('c', resolve))).toEqual(
      new Error('The socket is not open: readyState is 2'),
    );
    expect(() => server.send('without a callback')).not.toThrow();
  });

  test('a paused socket keeps its messages, which the other side sees as buffered', async () => {
    const { server, client } = socketPair();
    const events = recordOf(client);
    client.pause();
    expect(client.isPaused).toBe(true);
    server.send('abc');
    server.send(Uint8Array.from([1, 2]));
    await nextTurn();
    await nextTurn();
    expect(events).toEqual([]);
    expect(server.bufferedAmount).toBe(5);
    client.resume();
    await expect.poll(() => events).toEqual(['abc', [1, 2]]);
  });

  test('a socket that a listener pauses goes on when it is resumed', async () => {
    const { server, client } = socketPair();
    const events = recordOf(client);
    client.once('message', () => client.pause());
    server.send('a');
    server.send('b');
    await once(client, 'message');
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    expect(events).toEqual(['a']);
    client.resume();
    await expect.poll(() => events).toEqual(['a', 'b']);
  });

  test('a socket answers a ping by itself, but not while it is paused', async () => {
    const { server, client } = socketPair();
    const pinged = once(client, 'ping');
    const answered = once(server, 'pong');
    server.ping('are you there');
    expect(String((await pinged)[0])).toBe('are you there');
    expect(String((await answered)[0])).toBe('are you there');
    client.pause();
    server.ping();
    let pongs = 0;
    server.on('pong', () => pongs++);
    await nextTurn();
    await nextTurn();
    expect(pongs).toBe(0);
    client.resume();
    await once(server, 'pong');
  });

  test.each(['ping', 'pong'] as const)(
    '%s() takes 125 bytes and no more, and none by default',
    async (kind) => {
      const { server, client } = socketPair();
      const heard: number[] = [];
      client.on(kind, (bytes: Buffer) => heard.push(bytes.length));
      server[kind]('x'.repeat(125));
      server[kind]();
      expect(() => server[kind]('x'.repeat(126))).toThrow(
        new RangeError(`Expected at most 125 bytes in a ${kind}, got \`126\` (number)`),
      );
      await expect.poll(() => heard).toEqual([125, 0]);
    },
  );

  test('a pong is not answered', async () => {
    const { server, client } = socketPair();
    const answers = vi.fn();
    server.on('pong', answers);
    const heard = once(client, 'pong');
    server.pong('unasked');
    expect(String((await heard)[0])).toBe('unasked');
    await nextTurn();
    await nextTurn();
    expect(answers).not.toHaveBeenCalled();
  });

  test('a socket pair has the constants of a WebSocket, and no URL, protocol or extension', () => {
    const { client } = socketPair();
    expect([client.CONNECTING, client.OPEN, client.CLOSING, client.CLOSED]).toEqual([0, 1, 2, 3]);
    expect([client.url, client.protocol, client.extensions, client.binaryType]).toEqual([
      '',
      '',
      '',
      'nodebuffer',
    ]);
  });
});

describe('a pair that closes', () => {
  test('a close delivers earlier messages, then the code and reason to both sides', async () => {
    const pair = socketPair();
    const [atServer, atClient] = [recordOf(pair.server), recordOf(pair.client)];
    pair.server.send('last');
    pair.server.close(4000, 'grüße');
    expect(pair.server.readyState).toBe(pair.server.CLOSING);
    pair.client.send('meanwhile');
    await closed(pair);
    expect(atClient).toEqual(['last', { code: 4000, reason: 'grüße' }]);
    expect(atServer).toEqual(['meanwhile', { code: 4000, reason: 'grüße' }]);
    expect([pair.server.readyState, pair.client.readyState]).toEqual([3, 3]);
  });

  test('only the first close counts, and a closed pair sends and receives nothing', async () => {
    const pair = socketPair();
    const { server, client } = pair;
    const [atServer, atClient] = [recordOf(server), recordOf(client)];
    server.close(4000, 'first');
    server.close(4001, 'second');
    await closed(pair);
    const controls = vi.fn();
    client.on('ping', controls).on('pong', controls);
    server.ping();
    server.pong();
    server.close(4002);
    client.pause();
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    expect([atServer, atClient]).toEqual([
      [{ code: 4000, reason: 'first' }],
      [{ code: 4000, reason: 'first' }],
    ]);
    expect(controls).not.toHaveBeenCalled();
    expect(client.isPaused).toBe(false);
  });

  test('a side that was paused is not paused any more when the other one has terminated it', async () => {
    const pair = socketPair();
    pair.client.pause();
    pair.server.terminate();
    await closed(pair);
    expect(pair.client.isPaused).toBe(false);
  });

  test('a close without a code is 1005 on both sides', async () => {
    const pair = socketPair();
    const [atServer, atClient] = [recordOf(pair.server), recordOf(pair.client)];
    pair.client.close();
    await closed(pair);
    expect([atServer, atClient]).toEqual([[{ code: 1005, reason: '' }], [{ code: 1005, reason: '' }]]);
  });

  test('closes from both sides at once give each side the code of the other', async () => {
    const pair = socketPair();
    const [atServer, atClient] = [recordOf(pair.server), recordOf(pair.client)];
    pair.server.close(4001);
    pair.client.close(4002);
    await closed(pair);
    expect([atServer, atClient]).toEqual([[{ code: 4002, reason: '' }], [{ code: 4001, reason: '' }]]);
  });

  test.each<[number | undefined, string, typeof RangeError | typeof TypeError]>([
    [1005, '', RangeError],
    [1006, '', RangeError],
    [5000, '', RangeError],
    [4000, 'x'.repeat(124), RangeError],
    [undefined, 'a reason without a code', TypeError],
  ])('close() throws for code %s and reason %s, and the socket stays open', (code, reason, type) => {
    const { server } = socketPair();
    expect(() => server.close(code, reason)).toThrow(type);
    expect(server.readyState).toBe(server.OPEN);
  });

  test('a close waits for a side that is paused', async () => {
    const { server, client } = socketPair();
    client.pause();
    server.close(4000);
    await nextTurn();
    await nextTurn();
    expect(server.readyState).toBe(server.CLOSING);
    client.resume();
    expect((await once(server, 'close'))[0]).toBe(4000);
  });

  test('terminate() closes both sides with 1006 at once, and messages on their way are lost', async () => {
    const pair = socketPair();
    const [atServer, atClient] = [recordOf(pair.server), recordOf(pair.client)];
    pair.server.send('lost');
    pair.client.pause();
    pair.client.terminate();
    pair.client.terminate();
    await closed(pair);
    await nextTurn();
    expect([atServer, atClient]).toEqual([[{ code: 1006, reason: '' }], [{ code: 1006, reason: '' }]]);
    expect(pair.server.bufferedAmount).toBe(0);
  });
});

describe('the standard events of a socket in memory', () => {
  test('a socket of a pair emits the events of a WebSocket in a browser', async () => {
    const { server, client } = socketPair();
    const seen: unknown[] = [];
    client.onopen = ({ type, target }) => seen.push([type, target === client]);
    client.onmessage = ({ data }) => seen.push(data);
    client.onclose = ({ code, reason, wasClean }) => seen.push([code, reason, wasClean]);
    server.send('text');
    server.close(4000, 'bye');
    await once(client, 'close');
    expect(seen).toEqual([['open', true], 'text', [4000, 'bye', true]]);
    const ended = socketPair();
    const close = new Promise<{ readonly wasClean: boolean }>((resolve) => (ended.client.onclose = resolve));
    ended.server.terminate();
    expect((await close).wasClean).toBe(false);
  });

  test('binaryType decides how a message event holds bytes', async () => {
    const { server, client } = socketPair();
    const seen: unknown[] = [];
    client.addEventListener('message', ({ data }) => seen.push(data));
    for (const type of ['nodebuffer', 'arraybuffer', 'blob'] as const) {
      client.binaryType = type;
      server.send(Uint8Array.from([7]));
      await once(client, 'message');
    }
    expect(seen).toEqual([Buffer.from([7]), Uint8Array.from([7]).buffer, expect.any(Blob)]);
    expect(new Uint8Array(await (seen[2] as Blob).arrayBuffer())).toEqual(Uint8Array.from([7]));
    expect(client.binaryType).toBe('blob');
  });

  test('a listener that is added twice is called once, and not after it is removed', async () => {
    const { server, client } = socketPair();
    const seen: unknown[] = [];
    const listener = ({ data }: { data: unknown }): void => void seen.push(data);
    client.addEventListener('message', listener);
    client.addEventListener('message', listener);
    client.addEventListener('message', ({ data }) => seen.push(`${String(data)} once`), { once: true });
    server.send('a');
    await once(client, 'message');
    client.removeEventListener('message', listener);
    client.removeEventListener('message', listener);
    server.send('b');
    await once(client, 'message');
    expect(seen).toEqual(['a', 'a once']);
  });

  test('an event calls the handler that is set when it happens, and none once it is null', async () => {
    const { server, client } = socketPair();
    const seen: unknown[] = [];
    client.onmessage = () => seen.push('replaced');
    client.onmessage = ({ data }) => seen.push(data);
    server.send('a');
    await once(client, 'message');
    await nextTurn();
    client.onmessage = null;
    server.send('b');
    await once(client, 'message');
    await nextTurn();
    expect(seen).toEqual(['a']);
  });

  test('a listener for another type than the four standard events is never called', () => {
    const { client } = socketPair();
    client.addEventListener('pong' as 'open', () => undefined);
    expect(client.listenerCount('pong')).toBe(0);
  });
});

describe('a connection over a socket in memory', () => {
  test('a connection over a socket pair joins a pool, receives from its client, and is a slow reader while the client is paused', async () => {
    const pool = new ConnectionsPool({ maxBufferedBytes: 1_000, onSlow: 'drop' });
    const { server, client } = socketPair();
    const connection = new Connection('ada', 'lobby', server);
    await pool.newConnection(connection);
    connection.on('message', (message) => void pool.broadcastMessage('lobby', message));
    client.send('hello');
    expect(String((await once(client, 'message'))[0])).toBe('hello');
    client.pause();
    for (let n = 0; n < 5; n++) await connection.send('x'.repeat(400));
    expect(pool.stats()).toMatchObject({ slowNow: 1 });
    const drained = once(connection, 'drain');
    client.resume();
    await drained;
    client.close(1001);
    await once(pool, 'emptyNamespace');
    expect(pool.stats().connections).toBe(0);
  });
});

describe('a connection over a socket in memory, by a fake clock', () => {
  useFakeClock();

  test('an open pair keeps the process alive until a second after its last message, and a closed one does not', async () => {
    const { server } = socketPair();
    await vi.advanceTimersByTimeAsync(900);
    expect(vi.getTimerCount()).toBe(1);
    server.send('later');
    await vi.advanceTimersByTimeAsync(900);
    expect(vi.getTimerCount()).toBe(1);
    await vi.advanceTimersByTimeAsync(101);
    expect(vi.getTimerCount()).toBe(0);

    const closing = socketPair();
    closing.server.close();
    await vi.advanceTimersByTimeAsync(10);
    expect(closing.client.readyState).toBe(3);
    expect(vi.getTimerCount()).toBe(0);
    closing.server.resume();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a connection over a socket pair is terminated when its client does not answer the heartbeat', async () => {
    const pool = new ConnectionsPool({ heartbeat: { interval: 200, timeout: 100 } });
    const { server, client } = socketPair();
    await pool.newConnection(new Connection('ada', 'lobby', server));
    client.pause();
    const closed = once(client, 'close');
    await vi.advanceTimersByTimeAsync(600);
    expect((await closed)[0]).toBe(1006);
    expect(pool.stats()).toMatchObject({ heartbeatsLost: 1, connections: 0 });
  });
});

test('any number of random messages, pauses and closes keep the order and lose nothing', async () => {
  const random = new Random(11);
  for (let life = 0; life < LIVES; life++) {
    const pair = socketPair();
    const [atServer, atClient] = [recordOf(pair.server), recordOf(pair.client)];
    const sent: [number[], number[]] = [[], []];
    for (let step = 0; step < 40; step++) {
      const isServer = random.chance(0.5);
      const socket = isServer ? pair.server : pair.client;
      if (random.chance(0.6)) {
        sent[isServer ? 0 : 1].push(step);
        const message: string | Blob = random.chance(0.1)
          ? new Blob([Uint8Array.from([step])])
          : String(step);
        socket.send(message);
      } else if (random.chance(0.3)) socket.pause();
      else if (random.chance(0.6)) socket.resume();
      else await nextTurn();
    }
    pair.server.close(4000);
    pair.client.close(4001);
    pair.server.resume();
    pair.client.resume();
    await closed(pair);
    const numbers = (events: unknown[]): number[] =>
      events.slice(0, -1).map((event) => Number(Array.isArray(event) ? event[0] : event));
    assert.deepEqual(numbers(atClient), sent[0]);
    assert.deepEqual(numbers(atServer), sent[1]);
  }
});
