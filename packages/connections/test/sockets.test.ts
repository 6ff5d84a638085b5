import { EventEmitter, once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { Connection, ConnectionsPool, type WebSocketMessage } from '../src/index.js';
import { BunSocket, UwsSocket } from './support/callback-sockets.js';
import { EventTargetSocket } from './support/event-target-socket.js';
import { Loopback } from './support/loopback.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';
import { watchUnhandled } from './support/unhandled.js';

type Received = [message: string | Uint8Array, isBinary: boolean];

/** The next message of a connection, with its second argument. */
async function nextMessage(connection: EventEmitter): Promise<Received> {
  return (await once(connection, 'message')) as Received;
}

/** Everything that a connection emits, in order. */
function record(connection: EventEmitter): unknown[][] {
  const events: unknown[][] = [];
  for (const event of ['message', 'close', 'error', 'drain', 'pong']) {
    connection.on(event, (...args: unknown[]) => void events.push([event, ...args]));
  }
  return events;
}

describe('a Node emitter', () => {
  test('a server socket of ws can do everything but cork', async () => {
    const { connection } = await (await Loopback.start()).connect('1');
    expect(connection.capabilities).toEqual({
      events: 'emitter',
      terminate: true,
      ping: true,
      bufferedAmount: true,
      readyState: true,
      cork: false,
    });
  });

  test('text arrives as a string and binary as bytes, with isBinary', async () => {
    const { client, connection } = await (await Loopback.start()).connect('1');

    client.socket.send('grüße 👋');
    expect(await nextMessage(connection)).toEqual(['grüße 👋', false]);

    client.socket.send(Buffer.from([0, 1, 255]));
    expect(await nextMessage(connection)).toEqual([Buffer.from([0, 1, 255]), true]);
  });

  test.each(['nodebuffer', 'arraybuffer', 'fragments'] as const)(
    'binary arrives as bytes with binaryType %s, also from a fragmented message',
    async (binaryType) => {
      const { client, socket, connection } = await (await Loopback.start()).connect('1');
      socket.binaryType = binaryType;

      const received = nextMessage(connection);
      client.socket.send(Buffer.from('ab'), { fin: false, binary: true });
      client.socket.send(Buffer.from('cd'), { fin: true });
      const [bytes, isBinary] = await received;
      expect(bytes).toBeInstanceOf(Uint8Array);
      expect(Buffer.from(bytes as Uint8Array).toString()).toBe('abcd');
      expect(isBinary).toBe(true);

      client.socket.send('text');
      expect(await nextMessage(connection)).toEqual(['text', false]);
    },
  );

  test('a client socket of ws is wrapped like one of a server', async () => {
    const { client, socket: peer } = await (await Loopback.start()).pair();
    const connection = new Connection('1', 'default', client.socket);

    peer.send('to the client');
    expect(await nextMessage(connection)).toEqual(['to the client', false]);

    // A client has to mask its frames (RFC 6455 §5.3): the server would end the connection otherwise.
    const received = once(peer, 'message');
    expect(await connection.send('to the server')).toBe(true);
    expect(String((await received)[0])).toBe('to the server');

    const closed = once(peer, 'close');
    await connection.close(4000, 'bye');
    expect(await closed).toEqual([4000, Buffer.from('bye')]);
  });

  test('a client socket that still connects sends nothing, and works once it is open', async () => {
    const { url, server } = await Loopback.start();
    const accepted = once(server, 'connection') as Promise<[WebSocket]>;
    const socket = new WebSocket(url);
    const connection = new Connection('1', 'default', socket);
    const events = record(connection);

    expect(connection.closed).toBe(false);
    expect(await connection.send('too early')).toBe(false);
    expect(events).toEqual([['error', expect.any(Error)]]);

    const [[peer]] = await Promise.all([accepted, once(socket, 'open')]);
    const received = once(peer, 'message');
    expect(await connection.send('now')).toBe(true);
    expect(String((await received)[0])).toBe('now');
  });

  test('a client socket that still connects can be closed and terminated', async () => {
    const { url } = await Loopback.start();
    for (const end of ['close', 'terminate'] as const) {
      const connection = new Connection('1', 'default', new WebSocket(url));
      const closed = new Promise((resolve) => connection.on('close', (...args) => resolve(args)));
      void connection[end]();
      expect(connection.closed).toBe(true);
      expect(await closed).toEqual([1006, '']);
    }
  });

  test('a socket that has closed is wrapped as closed: nothing is sent and close() resolves', async () => {
    const { client, socket } = await (await Loopback.start()).pair();
    client.socket.close();
    await once(socket, 'close');

    const pool = new ConnectionsPool();
    const connection = new Connection('1', 'default', socket);
    await pool.newConnection(connection);

    expect(connection.closed).toBe(true);
    expect(pool.hasNamespace('default')).toBe(false);
    expect(await connection.send('x')).toBe(false);
    await connection.close();
    connection.terminate();
  });

  test('a socket that is closing when wrapped still reports its close', async () => {
    const { client, socket } = await (await Loopback.start()).pair();
    socket.close(4000, 'early');

    const pool = new ConnectionsPool();
    const connection = new Connection('1', 'default', socket);
    const closed = once(connection, 'close');
    await pool.newConnection(connection);

    expect(connection.closed).toBe(true);
    expect(pool.hasNamespace('default')).toBe(false);
    expect(await connection.send('x')).toBe(false);
    await connection.close(4001, 'later');
    expect(await closed).toEqual([4000, 'early']);
    expect(await client.closed).toEqual({ code: 4000, reason: 'early' });
  });

  test('a sealed socket is wrapped too, for as many connections as wanted', async () => {
    const { client, socket } = await (await Loopback.start()).pair();
    Object.seal(socket);
    const one = new Connection('1', 'one', socket);
    const two = new Connection('2', 'two', socket);
    const received = Promise.all([nextMessage(one), nextMessage(two)]);
    client.socket.send('hello');
    expect(await received).toEqual([
      ['hello', false],
      ['hello', false],
    ]);
    const closed = once(two, 'close');
    await one.close(4000, 'bye');
    expect(await closed).toEqual([4000, 'bye']);
  });

  // A closure per listener and connection would cost more than the rest of the connection.
  test('the listeners of two sockets are the same functions', () => {
    const [one, two] = [connectInMemory('1'), connectInMemory('2')];
    for (const event of ['message', 'close', 'error', 'ping', 'pong']) {
      expect(one.socket.listeners(event)).toHaveLength(1);
      expect(one.socket.listeners(event)).toEqual(two.socket.listeners(event));
    }
  });

  test('sockets that can do the same share what is known of them', () => {
    const [one, two] = [connectInMemory('1'), connectInMemory('2')];
    expect(one.connection.capabilities).toBe(two.connection.capabilities);
  });

  // `ws` with binaryType 'blob': the listener threw into the receiver of `ws`, from where it ended the process.
  test('a message in a form that cannot be read is an error event and breaks nothing', () => {
    const socket = Object.assign(new EventEmitter(), { send: () => undefined, close: () => undefined });
    const connection = new Connection('1', 'default', socket);
    const events = record(connection);

    expect(() => socket.emit('message', new Blob(['x']), true)).not.toThrow();
    socket.emit('message', Buffer.from('next'), false);

    expect(events).toEqual([
      ['error', expect.any(TypeError)],
      ['message', 'next', false],
    ]);
  });

  test('a listener that throws breaks neither the other sockets nor its own', async () => {
    const loopback = await Loopback.start();
    const one = await loopback.connect('1');
    const two = await loopback.connect('2');
    const errors: unknown[] = [];
    one.connection.on('error', (error) => errors.push(error));
    one.connection.once('message', () => {
      throw new Error('listener');
    });
    one.client.socket.send('bad');
    await one.client.roundTrip();
    expect(errors).toEqual([new Error('listener')]);

    one.client.socket.send('good');
    two.client.socket.send('good');
    expect(await Promise.all([nextMessage(one.connection), nextMessage(two.connection)])).toEqual([
      ['good', false],
      ['good', false],
    ]);
  });

  test('two connections over one socket in two namespaces both hear it, and each leaves its namespace', async () => {
    const { client, socket } = await (await Loopback.start()).pair();
    const pool = new ConnectionsPool();
    const one = new Connection('1', 'one', socket);
    const two = new Connection('2', 'two', socket);
    await Promise.all([pool.newConnection(one), pool.newConnection(two)]);

    const received = Promise.all([nextMessage(one), nextMessage(two)]);
    client.socket.send('hello');
    expect(await received).toEqual([
      ['hello', false],
      ['hello', false],
    ]);

    await pool.broadcastMessage('one', 'for one');
    await pool.broadcastMessage('two', 'for two');
    expect(await client.exactly(2)).toEqual(['for one', 'for two']);

    const closes = Promise.all([once(one, 'close'), once(two, 'close')]);
    await one.close(4000, 'bye');
    expect(await closes).toEqual([
      [4000, 'bye'],
      [4000, 'bye'],
    ]);
    expect(two.closed).toBe(true);
    expect(pool.connections.size).toBe(0);
  });
});

describe('an event target', () => {
  async function connect() {
    const { client, socket } = await (await Loopback.start()).pair();
    const target = new EventTargetSocket(client.socket);
    return { peer: socket, target, connection: new Connection('1', 'default', target) };
  }

  test('is heard by addEventListener, and cannot be terminated, pinged or corked', async () => {
    const { connection } = await connect();
    expect(connection.capabilities).toEqual({
      events: 'event-target',
      terminate: false,
      ping: false,
      bufferedAmount: true,
      readyState: true,
      cork: false,
    });
  });

  // As Blobs, bytes would have to be read first, and the text behind them would come before them.
  test('text arrives as a string and binary as bytes, in order', async () => {
    const { peer, connection } = await connect();
    const received: Received[] = [];
    connection.on('message', (...args) => received.push(args));
    peer.send(Buffer.from([1, 2]));
    peer.send('text');
    await expect.poll(() => received.length).toBe(2);
    expect(received[0]![0]).toBeInstanceOf(Uint8Array);
    expect([...(received[0]![0] as Uint8Array)]).toEqual([1, 2]);
    expect(received.map(([, isBinary]) => isBinary)).toEqual([true, false]);
    expect(received[1]![0]).toBe('text');
  });

  test('is told to give its bytes as ArrayBuffers, where it has a say in that', async () => {
    const { target } = await connect();
    expect(target.binaryType).toBe('arraybuffer');
    const plain = Object.assign(new EventTarget(), { send: () => undefined, close: () => undefined });
    expect(new Connection('1', 'default', plain).capabilities.events).toBe('event-target');
    expect(plain).not.toHaveProperty('binaryType');
  });

  test('sends text as text and bytes as binary', async () => {
    const { peer, connection } = await connect();
    const received: unknown[][] = [];
    peer.on('message', (data: Buffer, isBinary) => received.push([data.toString(), isBinary]));
    expect(await connection.send('text')).toBe(true);
    expect(await connection.send(Buffer.from('bytes'))).toBe(true);
    await expect
      .poll(() => received)
      .toEqual([
        ['text', false],
        ['bytes', true],
      ]);
  });

  test('sends nothing while it connects, works from its open event on, and closes from both sides', async () => {
    const { url, server } = await Loopback.start();
    const accepted = once(server, 'connection') as Promise<[WebSocket]>;
    const target = new EventTargetSocket(new WebSocket(url));
    const connection = new Connection('1', 'default', target);
    expect(await connection.send('too early')).toBe(false);

    await once(target, 'open');
    const [peer] = await accepted;
    const received = once(peer, 'message');
    expect(await connection.send('now')).toBe(true);
    expect(String((await received)[0])).toBe('now');

    const closed = once(connection, 'close');
    peer.close(4001, 'from the peer');
    expect(await closed).toEqual([4001, 'from the peer']);
    expect(connection.closed).toBe(true);
  });

  test('close() resolves when it has closed', async () => {
    const { peer, target, connection } = await connect();
    const closed = once(peer, 'close');
    await connection.close(4000, 'bye');
    expect(target.readyState).toBe(WebSocket.CLOSED);
    expect(await closed).toEqual([4000, Buffer.from('bye')]);
  });

  // Browsers refuse most codes, 1012 (the default of a drain) among them: the refusal was taken for a socket that
  // cannot be ended, which was reported closed and stayed open for ever.
  test('closes also with a code that it refuses', async () => {
    const { peer, connection } = await connect();
    const closed = once(peer, 'close');
    await connection.close(1012, 'restart');
    await closed;
  });

  test('its error is an error event and never thrown', async () => {
    const { target, connection } = await connect();
    target.dispatchEvent(new Event('error'));
    const errors: Error[] = [];
    connection.on('error', (error) => errors.push(error));
    target.dispatchEvent(new Event('error'));
    target.dispatchEvent(Object.assign(new Event('error'), { error: new Error('own') }));
    target.dispatchEvent(Object.assign(new Event('error'), { message: 'text' }));
    expect(errors.map(({ message }) => message)).toEqual(['The socket failed', 'own', 'text']);
  });

  test('terminate() frees our side at once', async () => {
    const { connection } = await connect();
    const closed = once(connection, 'close');
    connection.terminate();
    expect(await closed).toEqual([1006, '']);
    expect(connection.closed).toBe(true);
  });

  // The global WebSocket of Bun can ping and tells of the pong by an event. Nobody listened to it: the heartbeat
  // pinged, heard nothing and terminated every client that had nothing else to say.
  test('the pong of one that can ping is heard', () => {
    class PingingSocket extends EventTarget {
      send(): void {
        // Nothing is sent here.
      }
      close(): void {
        // Nor closed.
      }
      ping(): void {
        this.dispatchEvent(new Event('pong'));
      }
    }
    const socket = new PingingSocket();
    const connection = new Connection<string, string, PingingSocket>('1', 'default', socket);
    expect(connection.capabilities).toMatchObject({ events: 'event-target', ping: true });
    const events = record(connection);
    socket.ping();
    expect(events).toEqual([['pong']]);
  });
});

describe('a socket of uWebSockets.js', () => {
  function wrap(id = '1') {
    const socket = new UwsSocket();
    const connection = new Connection<string, string | Uint8Array | ArrayBuffer, UwsSocket>(
      id,
      'default',
      socket,
    );
    socket.onClose = (code, message) => connection.handleClose(code, message);
    return { socket, connection, events: record(connection) };
  }

  test('is fed by its owner and can be ended, pinged, measured and corked', () => {
    expect(wrap().connection.capabilities).toEqual({
      events: 'owner',
      terminate: true,
      ping: true,
      bufferedAmount: true,
      readyState: false,
      cork: true,
    });
  });

  // The buffer of a message is taken back when the callback returns; who kept it read zeroes, or worse.
  test('messages survive the callback that lent them', () => {
    const socket = new UwsSocket();
    const connection = new Connection<string, string, UwsSocket>('1', 'default', socket);
    const received: Received[] = [];
    connection.on('message', (...args) => received.push(args));

    socket.receive(connection, 'text', false);
    socket.receive(connection, 'bytes', true);

    expect(received).toEqual([
      ['text', false],
      [Buffer.from('bytes'), true],
    ]);
  });

  // Its send() takes everything for text unless told otherwise.
  test('binary goes out as binary, text as text', async () => {
    const { socket, connection } = wrap();
    expect(await connection.send('text')).toBe(true);
    expect(await connection.send(Buffer.from('view'))).toBe(true);
    expect(await connection.send(Uint8Array.from([1, 2]).buffer)).toBe(true);
    expect(socket.sent).toEqual([
      { message: 'text', isBinary: false },
      { message: Uint8Array.from(Buffer.from('view')), isBinary: true },
      { message: Uint8Array.from([1, 2]), isBinary: true },
    ]);
  });

  test('a full buffer that takes the message is a send, one that drops it is none', async () => {
    const { socket, connection } = wrap();
    socket.answer = 0;
    expect(await connection.send('waits')).toBe(true);
    socket.answer = 2;
    expect(await connection.send('dropped')).toBe(false);
    expect(socket.sent).toEqual([{ message: 'waits', isBinary: false }]);
  });

  test('the broadcasts of a turn go out in one cork, in order', async () => {
    const { socket, connection } = wrap();
    const pool = new ConnectionsPool<string | Uint8Array | ArrayBuffer, typeof connection>();
    await pool.newConnection(connection);
    const results = [1, 2, 3].map((n) => pool.broadcastMessage('default', `message ${n}`));
    for (const result of await Promise.all(results)) {
      expect(result).toEqual({ recipients: 1, sent: 1, dropped: 0, failed: 0 });
    }
    expect(socket.sent.map(({ message }) => message)).toEqual(['message 1', 'message 2', 'message 3']);
    expect(socket.corks).toBe(1);
    expect(socket.sentCorked).toBe(3);
  });

  test('one message alone needs no cork', async () => {
    const { socket, connection } = wrap();
    const pool = new ConnectionsPool<string | Uint8Array | ArrayBuffer, typeof connection>();
    await pool.newConnection(connection);
    await pool.broadcastMessage('default', 'to all');
    await connection.send('private');
    expect(socket.sent.map(({ message }) => message)).toEqual(['to all', 'private']);
    expect(socket.corks).toBe(0);
  });

  // Its end() calls the close callback before it returns, and any use of the socket after that throws.
  test('close() does the closing handshake, and nothing touches the socket afterwards', async () => {
    const { socket, connection, events } = wrap();
    void connection.send('last');
    await connection.close(4000, 'bye');
    expect(socket.sent.map(({ message }) => message)).toEqual(['last']);
    expect(socket.ended).toEqual([{ code: 4000, reason: 'bye' }]);

    expect(connection.closed).toBe(true);
    expect(connection.bufferedAmount).toBe(0);
    expect(await connection.send('x')).toBe(false);
    await connection.close();
    connection.terminate();
    connection.handleDrain();
    expect(events).toEqual([['close', 4000, 'bye']]);
  });

  test('terminate() ends it without a close frame', () => {
    const { socket, connection, events } = wrap();
    connection.terminate();
    connection.terminate();
    expect(socket.ended).toEqual([]);
    expect(() => socket.ping()).toThrow('closed');
    expect(events).toEqual([['close', 1006, '']]);
  });

  test('a socket that is gone before its owner says so fails its own sends only', async () => {
    const gone = wrap('gone');
    const alive = wrap('alive');
    gone.socket.onClose = undefined;
    gone.socket.close();
    const pool = new ConnectionsPool<string | Uint8Array | ArrayBuffer, typeof alive.connection>();
    await Promise.all([gone, alive].map(({ connection }) => pool.newConnection(connection)));

    const results = await Promise.all([
      pool.broadcastMessage('default', 'a'),
      pool.broadcastMessage('default', 'b'),
    ]);
    expect(results).toEqual([
      { recipients: 2, sent: 1, dropped: 0, failed: 1 },
      { recipients: 2, sent: 1, dropped: 0, failed: 1 },
    ]);
    expect(alive.socket.sent.map(({ message }) => message)).toEqual(['a', 'b']);
    expect(await gone.connection.send('x')).toBe(false);
    expect(gone.events.every(([event]) => event === 'error')).toBe(true);
  });

  test('its buffer counts against the bound, and handleDrain() ends the episode', async () => {
    const { socket, connection, events } = wrap();
    const pool = new ConnectionsPool<string | Uint8Array | ArrayBuffer, typeof connection>({
      maxBufferedBytes: 100,
      onSlow: 'drop',
    });
    await pool.newConnection(connection);
    socket.buffered = 100;
    expect(connection.bufferedAmount).toBe(100);
    expect(await connection.send('refused')).toBe(false);
    socket.buffered = 0;
    connection.handleDrain();
    expect(await connection.send('taken')).toBe(true);
    expect(socket.sent.map(({ message }) => message)).toEqual(['taken']);
    expect(events).toEqual([['drain']]);
  });

  test('handlePong() is a pong event', () => {
    const { connection, events } = wrap();
    connection.handlePong();
    expect(events).toEqual([['pong']]);
  });
});

describe('a socket of Bun', () => {
  function wrap() {
    const socket = new BunSocket();
    const connection = new Connection<string, string | Uint8Array, BunSocket>('1', 'default', socket);
    socket.onClose = (code, reason) => connection.handleClose(code, reason);
    return { socket, connection, events: record(connection) };
  }

  test('is fed by its owner and tells its state', () => {
    expect(wrap().connection.capabilities).toEqual({
      events: 'owner',
      terminate: true,
      ping: true,
      bufferedAmount: false,
      readyState: true,
      cork: true,
    });
  });

  test('text comes as a string and bytes as a Buffer, with no isBinary from the callback', () => {
    const { connection, events } = wrap();
    connection.handleMessage('text');
    connection.handleMessage(Buffer.from('bytes'));
    expect(events).toEqual([
      ['message', 'text', false],
      ['message', Buffer.from('bytes'), true],
    ]);
  });

  test('sends, and close() resolves with the callback of the server', async () => {
    const { socket, connection, events } = wrap();
    expect(await connection.send('text')).toBe(true);
    expect(await connection.send('')).toBe(true);
    expect(await connection.send(Buffer.from('bytes'))).toBe(true);
    await connection.close(4000, 'bye');
    expect(socket.sent.map(({ isBinary }) => isBinary)).toEqual([false, false, true]);
    expect(socket.closes).toEqual([{ code: 4000, reason: 'bye' }]);
    expect(events).toEqual([['close', 4000, 'bye']]);
  });

  test('the broadcasts of a turn go out in one cork', async () => {
    const { socket, connection } = wrap();
    const pool = new ConnectionsPool<string | Uint8Array, typeof connection>();
    await pool.newConnection(connection);
    await Promise.all([1, 2, 3].map((n) => pool.broadcastMessage('default', `message ${n}`)));
    expect(socket.sent.map(({ message }) => message)).toEqual(['message 1', 'message 2', 'message 3']);
    expect(socket.corks).toBe(1);
    expect(socket.sentCorked).toBe(3);
  });

  test('terminate() ends it with 1006', () => {
    const { socket, connection, events } = wrap();
    connection.terminate();
    expect(socket.readyState).toBe(3);
    expect(events).toEqual([['close', 1006, '']]);
  });

  test('terminate() frees our side at once, also where the owner does not tell of the end', () => {
    const { socket, connection, events } = wrap();
    socket.onClose = undefined;
    connection.terminate();
    expect(socket.readyState).toBe(3);
    expect(events).toEqual([['close', 1006, '']]);
  });

  test('closed is true as soon as its state says so', () => {
    const { socket, connection } = wrap();
    socket.readyState = 2;
    expect(connection.closed).toBe(true);
  });

  // Bun 1.4 tells by a method what waits, without the `end` that tells uWebSockets.js from it: slow readers of
  // Bun.serve were never noticed.
  test('what waits in it is known where it has getBufferedAmount()', () => {
    const socket = Object.assign(new BunSocket(), { getBufferedAmount: () => 1_000 });
    const connection = new Connection<string, string, BunSocket>('1', 'default', socket);
    expect(connection.capabilities).toMatchObject({ terminate: true, bufferedAmount: true });
    expect(connection.bufferedAmount).toBe(1_000);
  });

  // Past its backpressureLimit Bun sends nothing and answers 0, which was taken for sent.
  test('a message that it drops was not sent, although an empty one gets the same answer', async () => {
    const { socket, connection } = wrap();
    socket.answer = 0;
    expect(await connection.send('text')).toBe(false);
    expect(await connection.send(Buffer.from('bytes'))).toBe(false);
    socket.answer = undefined;
    expect(await connection.send('')).toBe(true);
    expect(await connection.send(Buffer.alloc(0))).toBe(true);
    expect(socket.sent.map(({ isBinary }) => isBinary)).toEqual([false, true]);
  });
});

describe('a plain object with send and close', () => {
  function wrap(overrides: object = {}) {
    const calls: unknown[][] = [];
    const socket = {
      send: (...args: unknown[]): unknown => void calls.push(['send', ...args]),
      close: (...args: unknown[]): unknown => void calls.push(['close', ...args]),
      ...overrides,
    };
    const connection = new Connection('1', 'default', socket);
    return { calls, connection, events: record(connection) };
  }

  test('is fed by its owner and can do nothing else', () => {
    expect(wrap().connection.capabilities).toEqual({
      events: 'owner',
      terminate: false,
      ping: false,
      bufferedAmount: false,
      readyState: false,
      cork: false,
    });
    expect(Object.isFrozen(wrap().connection.capabilities)).toBe(true);
  });

  test('gets each message once as the only argument, and the close behind them', async () => {
    const { calls, connection, events } = wrap();
    expect(await connection.send('one')).toBe(true);
    void connection.send('two');
    const closed = connection.close(4000, 'bye');
    connection.handleClose(4000, 'bye');
    await closed;
    expect(calls).toEqual([
      ['send', 'one'],
      ['send', 'two'],
      ['close', 4000, 'bye'],
    ]);
    expect(events).toEqual([['close', 4000, 'bye']]);
  });

  test('handleClose() without arguments is a close without a code', () => {
    const { connection, events } = wrap();
    connection.handleClose();
    expect(events).toEqual([['close', 1005, '']]);
  });

  test('what its owner passes on after the close is no event', () => {
    const { connection, events } = wrap();
    connection.handleClose(1000, '');
    connection.handleMessage('late');
    connection.handleClose(4000, 'again');
    expect(events).toEqual([['close', 1000, '']]);
  });

  test('a close that answers with a promise is done when its owner says so, not when that settles', async () => {
    const { connection, events } = wrap({ close: () => Promise.resolve() });
    const closed = connection.close(4000, 'bye');
    await nextTurn();
    expect(events).toEqual([]);
    connection.handleClose(4001, 'from the owner');
    await closed;
    expect(events).toEqual([['close', 4001, 'from the owner']]);
  });

  test('may be a function that has both', async () => {
    const calls: unknown[][] = [];
    const socket = Object.assign(() => undefined, {
      send: (...args: unknown[]) => void calls.push(['send', ...args]),
      close: (...args: unknown[]) => void calls.push(['close', ...args]),
    });
    const connection = new Connection('1', 'default', socket);
    expect(await connection.send('x')).toBe(true);
    void connection.close(4000, 'bye');
    connection.handleClose(4000, 'bye');
    expect(calls).toEqual([
      ['send', 'x'],
      ['close', 4000, 'bye'],
    ]);
  });

  test('terminate() closes our side at once, as nobody else can tell', () => {
    const { connection, events } = wrap();
    connection.terminate();
    expect(connection.closed).toBe(true);
    expect(events).toEqual([['close', 1006, '']]);
  });

  test('a send that throws is a message not sent and an error event', async () => {
    const failure = new Error('broken pipe');
    const { connection, events } = wrap({
      send: () => {
        throw failure;
      },
    });
    expect(await connection.send('x')).toBe(false);
    expect(events).toEqual([['error', failure]]);
  });

  // The promise was dropped: its rejection ended the process.
  test('a send that answers with a promise is sent when that resolves, and not when it rejects', async () => {
    const unhandled = watchUnhandled();
    const failure = new Error('gone');
    const answers = [() => Promise.resolve(), () => Promise.reject(failure)];
    const { connection, events } = wrap({ send: () => answers.shift()?.() });
    const sent = await Promise.all([connection.send('good'), connection.send('bad')]);
    expect(await unhandled.settle()).toEqual([]);
    expect(sent).toEqual([true, false]);
    expect(events).toEqual([['error', failure]]);
  });

  test('a close that throws or rejects ends our side with 1006 and an error event', async () => {
    const unhandled = watchUnhandled();
    const failure = new Error('cannot close');
    const throwing = (): never => {
      throw failure;
    };
    for (const close of [throwing, () => Promise.reject(failure)]) {
      const { connection, events } = wrap({ close });
      await connection.close();
      expect(events).toEqual([
        ['error', failure],
        ['close', 1006, ''],
      ]);
    }
    expect(await unhandled.settle()).toEqual([]);
  });

  test.each([
    ['nothing', undefined],
    ['null', null],
    ['a string', 'ws://'],
    ['no send', { close: () => undefined }],
    ['no close', { send: () => undefined }],
  ])('%s is refused', (_, socket) => {
    expect(() => new Connection('1', 'default', socket)).toThrow(TypeError);
  });
});

describe('handlers', () => {
  interface Command {
    readonly type: string;
  }

  /** Handlers that note their calls, over a real socket which tells when it has closed. */
  async function connect(send: (message: Command, calls: unknown[][]) => unknown = () => undefined) {
    const { client, socket } = await (await Loopback.start()).pair();
    const calls: unknown[][] = [];
    const connection = new Connection<string, Command, WebSocket>('1', 'default', socket, {
      send: (message: Command) => {
        calls.push(['send', message]);
        return send(message, calls);
      },
      close: (code, reason) => {
        calls.push(['close', code, reason]);
        socket.close(code, reason);
      },
    });
    return { client, socket, connection, calls, events: record(connection) };
  }

  test('replace send and close of the socket, and send gets the very object that was passed', async () => {
    const { client, connection, calls } = await connect();
    const command = { type: 'x' };
    expect(await connection.send(command)).toBe(true);
    await connection.close(4000, 'bye');
    expect(calls).toEqual([
      ['send', command],
      ['close', 4000, 'bye'],
    ]);
    expect(calls[0]![1]).toBe(command);
    expect(await client.closed).toEqual({ code: 4000, reason: 'bye' });
    expect(client.inbox).toEqual([]);
  });

  test('get the message of a broadcast as it was passed', async () => {
    const { connection, calls } = await connect();
    const pool = new ConnectionsPool<Command, typeof connection>();
    await pool.newConnection(connection);
    const command = { type: 'x' };
    expect(await pool.broadcastMessage('default', command)).toEqual({
      recipients: 1,
      sent: 1,
      dropped: 0,
      failed: 0,
    });
    expect(calls[0]![1]).toBe(command);
  });

  test('get the broadcasts of a turn, and the socket that they replace is not even corked', async () => {
    const socket = new UwsSocket();
    const sent: string[] = [];
    const connection = new Connection<string, string, UwsSocket>('1', 'default', socket, {
      send: (message: string) => sent.push(message),
      close: () => undefined,
    });
    const pool = new ConnectionsPool<string, typeof connection>();
    await pool.newConnection(connection);
    await Promise.all(['a', 'b'].map((message) => pool.broadcastMessage('default', message)));
    expect(sent).toEqual(['a', 'b']);
    expect(socket.corks).toBe(0);
  });

  test('a send that throws, rejects or answers false is a message not sent', async () => {
    const unhandled = watchUnhandled();
    const failure = new Error('handler');
    const outcomes: Record<string, () => unknown> = {
      throws: () => {
        throw failure;
      },
      rejects: () => Promise.reject(failure),
      false: () => false,
      later: () => Promise.resolve(false),
      fine: () => Promise.resolve(),
    };
    const { connection, events } = await connect(({ type }) => outcomes[type]!());
    const sent = await Promise.all(Object.keys(outcomes).map((type) => connection.send({ type })));
    expect(sent).toEqual([false, false, false, false, true]);
    expect(await unhandled.settle()).toEqual([]);
    expect(events).toEqual([
      ['error', failure],
      ['error', failure],
    ]);
  });

  // The close frame overtook messages that a handler was still encoding.
  test('the close waits for every send that is still pending', async () => {
    const release = new Map<string, () => void>();
    const { client, connection, calls } = await connect(
      ({ type }, done) =>
        new Promise<void>((resolve) => {
          release.set(type, () => {
            done.push(['done', type]);
            resolve();
          });
        }),
    );
    void connection.send({ type: 'slow' });
    void connection.send({ type: 'quick' });
    const closed = connection.close(4000);
    expect(connection.closed).toBe(true);

    release.get('quick')!();
    await client.roundTrip();
    expect(calls.map(([name]) => name)).toEqual(['send', 'send', 'done']);

    release.get('slow')!();
    await closed;
    expect(calls.map(([name]) => name)).toEqual(['send', 'send', 'done', 'done', 'close']);
  });

  test('get nothing that is sent while the close waits', async () => {
    const releases: (() => void)[] = [];
    const { connection, calls } = await connect(
      () => new Promise<void>((resolve) => void releases.push(resolve)),
    );
    const first = connection.send({ type: 'first' });
    const closed = connection.close(4000);
    const late = connection.send({ type: 'late' });
    for (const release of releases) release();
    await closed;
    expect(await Promise.all([first, late])).toEqual([true, false]);
    expect(calls).toEqual([
      ['send', { type: 'first' }],
      ['close', 4000, ''],
    ]);
  });

  const endings: readonly [title: string, end: (socket: MemorySocket, connection: Connection) => void][] = [
    ['the socket closes', (socket) => socket.end(4001)],
    ['the connection is terminated', (_, connection) => connection.terminate()],
  ];

  test.each(endings)('their close is not called any more when %s while it waits', async (_, end) => {
    let release!: () => void;
    const socket = new MemorySocket();
    const close = vi.fn();
    const connection = new Connection('1', 'default', socket, {
      send: () => new Promise<void>((resolve) => (release = resolve)),
      close,
    });
    void connection.send('slow');
    const closed = connection.close(4000);
    end(socket, connection);
    await closed;
    release();
    await nextTurn();
    expect(close).not.toHaveBeenCalled();
  });

  test('the close comes also behind sends that reject', async () => {
    const { connection, calls } = await connect(() => Promise.reject(new Error('handler')));
    void connection.send({ type: 'x' });
    await connection.close(4000);
    expect(calls).toEqual([
      ['send', { type: 'x' }],
      ['close', 4000, ''],
    ]);
  });

  test('a send that never settles holds up the close until the grace period ends', async () => {
    const { connection, calls, client } = await connect(() => new Promise(() => undefined));
    const pool = new ConnectionsPool<Command, typeof connection>({ closeTimeout: 50 });
    await pool.newConnection(connection);
    void connection.send({ type: 'x' });
    await connection.close(4000);
    expect(calls).toEqual([['send', { type: 'x' }]]);
    expect((await client.closed).code).toBe(1006);
  });

  test('a close that throws or rejects terminates the socket', async () => {
    const loopback = await Loopback.start();
    const failure = new Error('cannot close');
    const throwing = (): never => {
      throw failure;
    };
    for (const close of [throwing, () => Promise.reject(failure)]) {
      const { client, socket } = await loopback.pair();
      const connection = new Connection('1', 'default', socket, { send: () => undefined, close });
      const events = record(connection);
      await connection.close();
      expect(events).toEqual([
        ['error', failure],
        ['close', 1006, ''],
      ]);
      expect((await client.closed).code).toBe(1006);
    }
  });

  test('sendThenClose closes behind its own message', async () => {
    const { connection, calls } = await connect(async (_, done) => {
      await Promise.resolve();
      done.push(['done']);
    });
    expect(await connection.sendThenClose({ type: 'last' }, 4000, 'bye')).toBe(true);
    expect(calls.map(([name]) => name)).toEqual(['send', 'done', 'close']);
  });

  test('over an object that tells nothing, the close has happened when the handler settles', async () => {
    let release!: () => void;
    const answered = new Promise<void>((resolve) => (release = resolve));
    const connection = new Connection('1', 'default', {}, { send: () => undefined, close: () => answered });
    const events = record(connection);
    const closed = connection.close(4000, 'bye');
    expect(events).toEqual([]);
    release();
    await closed;
    expect(events).toEqual([['close', 4000, 'bye']]);
  });

  test('over an object that tells nothing, the close has happened when a handler that answers nothing returns', async () => {
    const connection = new Connection('1', 'default', {}, { send: () => undefined, close: () => undefined });
    const events = record(connection);
    void connection.close(4000, 'bye');
    await nextTurn();
    expect(events).toEqual([['close', 4000, 'bye']]);
  });

  test('over a socket that tells of its close, that counts and not when the handler settles', async () => {
    const socket = new MemorySocket();
    const connection = new Connection('1', 'default', socket, {
      send: () => undefined,
      close: () => Promise.resolve(),
    });
    const events = record(connection);
    const closed = connection.close(4000, 'bye');
    await nextTurn();
    expect(events).toEqual([]);
    socket.end(4001, 'from the peer');
    await closed;
    expect(events).toEqual([['close', 4001, 'from the peer']]);
  });

  test.each([null, {}, { send: () => undefined }, { close: () => undefined }, 'x'])(
    'handlers that lack one of the two are refused: %o',
    (handlers) => {
      const socket = { send: () => undefined, close: () => undefined };
      expect(() => new Connection('1', 'default', socket, handlers as never)).toThrow(TypeError);
    },
  );
});

describe('odd sockets', () => {
  test('one whose terminate() throws frees our side all the same, and the failure is told', () => {
    const socket = {
      send: () => undefined,
      close: () => undefined,
      terminate: () => {
        throw new Error('cannot be ended');
      },
    };
    const connection = new Connection('1', 'default', socket);
    const [errors, codes]: [string[], number[]] = [[], []];
    connection.on('error', ({ message }) => errors.push(message));
    connection.on('close', (code) => codes.push(code));
    connection.terminate();
    expect(errors).toEqual(['cannot be ended']);
    expect(codes).toEqual([1006]);
  });

  test('one that tells of its close, and whose terminate() throws, frees our side at once as well', () => {
    const { connection, socket } = connectInMemory();
    const events = record(connection);
    const failure = new Error('cannot be ended');
    socket.terminate = () => {
      throw failure;
    };
    connection.terminate();
    expect(events).toEqual([
      ['error', failure],
      ['close', 1006, ''],
    ]);
  });

  test('a ping that an event target tells of counts as life', async () => {
    const socket = Object.assign(new EventTarget(), { send: () => undefined, close: () => undefined });
    const connection = new Connection('1', 'default', socket);
    const pool = new ConnectionsPool<WebSocketMessage, typeof connection>({ idleTimeout: 300 });
    await pool.newConnection(connection);
    const startMs = performance.now();
    const pings = setInterval(() => socket.dispatchEvent(new Event('ping')), 50);
    setTimeout(() => clearInterval(pings), 600);
    await expect.poll(() => connection.closed, { timeout: 5_000 }).toBe(true);
    clearInterval(pings);
    expect(performance.now() - startMs).toBeGreaterThan(700);
    connection.handleClose(1000, '');
  });
});
