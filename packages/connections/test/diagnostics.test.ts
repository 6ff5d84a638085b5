import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Connection, ConnectionsPool, type DiagnosticsPayloads } from '../src/index.js';
import { trace } from '../src/diagnostics.js';
import { Loopback } from './support/loopback.js';
import { MemorySocket } from './support/memory-socket.js';

type Name = keyof DiagnosticsPayloads;
const NAMES: readonly Name[] = [
  'connection',
  'disconnection',
  'emptyNamespace',
  'broadcast',
  'slow',
  'drain',
  'error',
];

/** Everything that is published on the channels until the test ends, in order. */
function subscribeTo(...names: readonly Name[]): { name: Name; payload: unknown }[] {
  const published: { name: Name; payload: unknown }[] = [];
  for (const name of names) {
    const listener = (payload: unknown): void => void published.push({ name, payload });
    subscribe(`soketi:connections:${name}`, listener);
    onTestFinished(() => void unsubscribe(`soketi:connections:${name}`, listener));
  }
  return published;
}

async function join(pool: ConnectionsPool, id: string, namespace = 'default', socket = new MemorySocket()) {
  const connection = new Connection(id, namespace, socket);
  await pool.newConnection(connection);
  return { connection, socket };
}

describe('channels', () => {
  test('tell of a connection from its coming to its going', async () => {
    const published = subscribeTo(...NAMES);
    const pool = new ConnectionsPool();
    const { connection, socket } = await join(pool, '1');
    socket.end(4000, 'bye');
    expect(published).toEqual([
      { name: 'connection', payload: { pool, connection } },
      { name: 'disconnection', payload: { pool, connection, code: 4000, reason: 'bye' } },
      { name: 'emptyNamespace', payload: { pool, namespace: 'default' } },
    ]);
    expect((published[0]!.payload as { connection: unknown }).connection).toBe(connection);
  });

  test('tell of a removal without a code', async () => {
    const published = subscribeTo('disconnection');
    const pool = new ConnectionsPool();
    const { connection } = await join(pool, '1');
    await pool.removeConnection(connection);
    expect(published).toEqual([
      { name: 'disconnection', payload: { pool, connection, code: undefined, reason: '' } },
    ]);
  });

  test('tell of a broadcast, with the bytes of its frame and its recipients', async () => {
    const published = subscribeTo('broadcast');
    const pool = new ConnectionsPool();
    for (const id of ['1', '2', '3']) await join(pool, id, 'room');
    await pool.broadcastMessage('room', 'x'.repeat(10));
    await pool.broadcastMessage('room', Buffer.alloc(1_000), ['2']);
    await pool.broadcastMessage('nobody', 'x');
    // RFC 6455 §5.2: a head of 2 bytes up to 125, of 4 up to 65,535; the server does not mask.
    expect(published.map(({ payload }) => payload)).toEqual([
      { pool, namespace: 'room', byteLength: 12, recipients: 3 },
      { pool, namespace: 'room', byteLength: 1_004, recipients: 2 },
    ]);
  });

  test('tell of a slow reader once for each episode', async () => {
    const published = subscribeTo('slow');
    const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' });
    const { connection, socket } = await join(pool, '1');
    socket.bufferedAmount = 100;
    await connection.send('refused');
    await connection.send('refused too');
    expect(published).toEqual([
      { name: 'slow', payload: { pool, connection, bufferedAmount: expect.any(Number) as number } },
    ]);
    expect((published[0]!.payload as { bufferedAmount: number }).bufferedAmount).toBeGreaterThanOrEqual(100);
    connection.handleDrain();
    await connection.send('refused again');
    expect(published).toHaveLength(2);
  });

  test('tell of a drain, with its report', async () => {
    const published = subscribeTo('drain');
    const pool = new ConnectionsPool();
    await join(pool, '1');
    const report = await pool.drainConnections();
    expect(published).toEqual([{ name: 'drain', payload: { pool, report } }]);
    expect((published[0]!.payload as { report: unknown }).report).toBe(report);
  });

  test('tell of errors, with the connection where there is one', async () => {
    const published = subscribeTo('error');
    const pool = new ConnectionsPool();
    const { connection, socket } = await join(pool, '1');
    const [ofSocket, ofListener] = [new Error('socket'), new Error('listener')];
    socket.emit('error', ofSocket);
    pool.on('disconnection', () => {
      throw ofListener;
    });
    await pool.removeConnection(connection);
    expect(published).toEqual([
      { name: 'error', payload: { pool, error: ofSocket, connection } },
      { name: 'error', payload: { pool, error: ofListener, connection: undefined } },
    ]);
  });

  test('tell of no pool what happens in another', async () => {
    const published = subscribeTo('connection');
    const [one, other] = [new ConnectionsPool(), new ConnectionsPool()];
    await join(one, '1');
    await join(other, '1');
    expect(published.map(({ payload }) => (payload as { pool: unknown }).pool)).toEqual([one, other]);
  });

  test('tell before the listeners of the pool hear of it', async () => {
    const order: string[] = [];
    const listener = (): void => void order.push('channel');
    subscribe('soketi:connections:connection', listener);
    onTestFinished(() => void unsubscribe('soketi:connections:connection', listener));
    const pool = new ConnectionsPool();
    pool.on('connection', () => order.push('listener'));
    await join(pool, '1');
    expect(order).toEqual(['channel', 'listener']);
  });

  test.each(NAMES)('of %s are not published to while nobody has subscribed', (name) => {
    const publish = vi.spyOn(channel(`soketi:connections:${name}`), 'publish');
    const unread = new Proxy([], {
      get: () => {
        throw new Error('the payload was made');
      },
    });
    const pool = new ConnectionsPool();
    trace(name, pool, unread, unread, unread);
    expect(publish).not.toHaveBeenCalled();
    publish.mockRestore();

    const published = subscribeTo(name);
    trace(name, pool);
    expect(published).toHaveLength(1);
  });

  test('without subscribers a whole life of a pool publishes nothing', async () => {
    const spies = NAMES.map((name) => vi.spyOn(channel(`soketi:connections:${name}`), 'publish'));
    onTestFinished(() => void vi.restoreAllMocks());
    const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' });
    const { connection, socket } = await join(pool, '1');
    await pool.broadcastMessage('default', 'x');
    await connection.send('x'.repeat(200));
    socket.emit('error', new Error('socket'));
    await pool.drainConnections();
    for (const publish of spies) expect(publish).not.toHaveBeenCalled();
  });
});

describe('stats()', () => {
  test('of a new pool are all 0', () => {
    const stats = new ConnectionsPool().stats();
    expect(Object.values(stats).every((value) => value === 0)).toBe(true);
    expect(Object.keys(stats)).toEqual(expect.arrayContaining(['connections', 'namespaces', 'messagesSent']));
  });

  test('are a snapshot', async () => {
    const pool = new ConnectionsPool();
    const before = pool.stats();
    await join(pool, '1');
    expect(before.connections).toBe(0);
    expect(pool.stats().connections).toBe(1);
  });

  test('agree with what clients have seen', async () => {
    const loopback = await Loopback.start();
    const pool = new ConnectionsPool();
    const clients = [];
    for (const [id, namespace] of [
      ['1', 'one'],
      ['2', 'one'],
      ['3', 'two'],
    ] as const) {
      const { client, connection } = await loopback.connect(id, namespace);
      await pool.newConnection(connection);
      clients.push(client);
    }
    let bytes = 0;
    for (const client of clients) {
      // The head of each of these frames has 2 bytes.
      client.socket.on('message', (data: Buffer) => (bytes += data.length + 2));
    }
    void pool.broadcastMessage('one', 'to one');
    void pool.broadcastMessage('one', 'to one again');
    void pool.broadcastJsonMessage('two', { to: 'two' });
    void pool.broadcastMessage('nobody', 'x');
    await pool.send('one', '1', Buffer.from('private'));
    await pool.send('one', 'nobody', 'x');
    await clients[0]!.exactly(3);
    await clients[1]!.exactly(2);
    await clients[2]!.exactly(1);
    expect(pool.stats()).toMatchObject({
      connections: 3,
      namespaces: 2,
      messagesSent: 6,
      bytesSent: bytes,
      broadcasts: 3,
      dropped: 0,
      errors: 0,
    });
    expect(pool.stats().writes).toBeGreaterThanOrEqual(3);
    expect(pool.stats().writes).toBeLessThanOrEqual(6);

    const duplicate = await loopback.connect('1', 'one');
    await expect(pool.newConnection(duplicate.connection)).rejects.toThrow();
    pool.getConnection('two', '3')!.terminate();
    await clients[2]!.closed;
    await pool.drainConnections();
    expect(pool.stats()).toMatchObject({
      connections: 0,
      namespaces: 0,
      refused: 1,
      terminated: 1,
      drains: 1,
      errors: 0,
    });
  });

  test('count a termination once, however often it is asked for', async () => {
    const pool = new ConnectionsPool();
    class Lingering extends MemorySocket {
      override terminate(): void {
        setImmediate(() => super.terminate());
      }
    }
    const { connection } = await join(pool, '1', 'default', new Lingering());
    connection.terminate();
    connection.terminate();
    await connection.close();
    connection.terminate();
    expect(pool.stats().terminated).toBe(1);
  });

  test('count refusals while draining, slow readers, drops and idle limits', async () => {
    const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop', idleTimeout: 100 });
    const { connection, socket } = await join(pool, '1');
    await join(pool, '2');
    socket.bufferedAmount = 90;
    expect(await pool.broadcastMessage('default', 'x'.repeat(50))).toMatchObject({ sent: 1, dropped: 1 });
    expect(await connection.send('x'.repeat(50))).toBe(false);
    expect(pool.stats()).toMatchObject({ slowReaders: 1, dropped: 2, messagesSent: 1 });
    await vi.waitFor(() => expect(pool.stats().connections).toBe(0), { timeout: 5_000 });
    expect(pool.stats()).toMatchObject({ idleTimeouts: 2, terminated: 0 });
    await pool.drainConnections();
    await pool.newConnection(new Connection('late', 'default', new MemorySocket())).catch(() => undefined);
    expect(pool.stats()).toMatchObject({ refused: 1, drains: 1 });
  });
});
