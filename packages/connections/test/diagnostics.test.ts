import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel';
import { expect, onTestFinished, test, vi } from 'vitest';
import { Connection, ConnectionsError, ConnectionsPool, type DiagnosticsPayloads } from '../src/index.js';
import { trace } from '../src/diagnostics.js';
import { MemorySocket } from './support/memory-socket.js';

type Name = keyof DiagnosticsPayloads;
const NAMES: readonly Name[] = [
  'connection',
  'disconnection',
  'refused',
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

test('the diagnostics channels report a connection from its joining to its leaving', async () => {
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

test('the diagnostics channels report a removal without a code', async () => {
  const published = subscribeTo('disconnection');
  const pool = new ConnectionsPool();
  const { connection } = await join(pool, '1');
  await pool.removeConnection(connection);
  expect(published).toEqual([
    { name: 'disconnection', payload: { pool, connection, code: undefined, reason: '' } },
  ]);
});

test('the diagnostics channels report a refusal, with its error', async () => {
  const published = subscribeTo('refused');
  const pool = new ConnectionsPool();
  await join(pool, '1');
  const { connection } = await join(pool, '1');
  expect(published).toEqual([
    { name: 'refused', payload: { pool, connection, error: expect.any(ConnectionsError) as Error } },
  ]);
});

test('the diagnostics channels report a broadcast, with the bytes of its frame and its recipients', async () => {
  const published = subscribeTo('broadcast');
  const pool = new ConnectionsPool();
  for (const id of ['1', '2', '3']) await join(pool, id, 'room');
  await pool.broadcastMessage('room', 'x'.repeat(10));
  await pool.broadcastMessage('room', Buffer.alloc(1_000), ['2']);
  await pool.broadcastMessage('nobody', 'x');
  // RFC 6455 §5.2: a header of 2 bytes up to 125, of 4 up to 65,535. A server does not mask.
  expect(published.map(({ payload }) => payload)).toEqual([
    { pool, namespace: 'room', byteLength: 12, recipients: 3 },
    { pool, namespace: 'room', byteLength: 1_004, recipients: 2 },
  ]);
});

test('the diagnostics channels report a slow reader once for each episode', async () => {
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

test('the diagnostics channels report a drain, with its report', async () => {
  const published = subscribeTo('drain');
  const pool = new ConnectionsPool();
  await join(pool, '1');
  const report = await pool.drainConnections();
  expect(published).toEqual([{ name: 'drain', payload: { pool, report } }]);
  expect((published[0]!.payload as { report: unknown }).report).toBe(report);
});

test('the diagnostics channels report errors, with the connection if there is one', async () => {
  const published = subscribeTo('error');
  const pool = new ConnectionsPool();
  const { connection, socket } = await join(pool, '1');
  const [ofSocket, ofListener, ofNone] = [new Error('socket'), new Error('listener'), new Error('none')];
  socket.emit('error', ofSocket);
  pool.on('disconnection', () => {
    throw ofListener;
  });
  pool.on('emptyNamespace', () => {
    throw ofNone;
  });
  await pool.removeConnection(connection);
  expect(published).toEqual([
    { name: 'error', payload: { pool, error: ofSocket, connection } },
    { name: 'error', payload: { pool, error: ofListener, connection } },
    { name: 'error', payload: { pool, error: ofNone, connection: undefined } },
  ]);
});

test('each payload of a diagnostics channel names its pool', async () => {
  const published = subscribeTo('connection');
  const [one, other] = [new ConnectionsPool(), new ConnectionsPool()];
  await join(one, '1');
  await join(other, '1');
  expect(published.map(({ payload }) => (payload as { pool: unknown }).pool)).toEqual([one, other]);
});

test('a diagnostics channel publishes before the listeners of the pool are called', async () => {
  const order: string[] = [];
  const listener = (): void => void order.push('channel');
  subscribe('soketi:connections:connection', listener);
  onTestFinished(() => void unsubscribe('soketi:connections:connection', listener));
  const pool = new ConnectionsPool();
  pool.on('connection', () => order.push('listener'));
  await join(pool, '1');
  expect(order).toEqual(['channel', 'listener']);
});

test.each(NAMES)('the diagnostics channel of %s publishes nothing without subscribers', (name) => {
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

test('no diagnostics channel publishes without subscribers in the whole life of a pool', async () => {
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
