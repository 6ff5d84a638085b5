import { once } from 'node:events';
import { describe, expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool, type WebSocketMessage } from '../src/index.js';
import { useFakeClock } from './support/fake-clock.js';
import { hostileStrings } from './support/hostile-strings.js';
import { connectInMemory, endingWithTest, MemorySocket } from './support/memory-socket.js';

test('a connection of another pool rejects with ERR_CONNECTION_IN_USE and stays where it is', async () => {
  const [one, other] = [new ConnectionsPool(), new ConnectionsPool({ onDuplicate: 'replace' })];
  const { connection } = connectInMemory();
  await one.newConnection(connection);
  await expect(other.newConnection(connection)).rejects.toMatchObject({ code: 'ERR_CONNECTION_IN_USE' });
  await other.removeConnection(connection);
  expect(one.getConnection('default', '1')).toBe(connection);
  // This is a mistake of the caller, not a refusal.
  expect(other.stats()).toMatchObject({ connections: 0, refused: 0 });

  await one.removeConnection(connection);
  await other.newConnection(connection);
  expect(other.getConnection('default', '1')).toBe(connection);
});

test('a connection that joins twice is in the pool once', async () => {
  const pool = new ConnectionsPool();
  const onConnection = vi.fn();
  pool.on('connection', onConnection);
  const { connection } = connectInMemory();
  await pool.newConnection(connection);
  await pool.newConnection(connection);
  expect(pool.stats().connections).toBe(1);
  expect(onConnection).toHaveBeenCalledTimes(1);
  await expect(pool.broadcastMessage('default', 'x')).resolves.toMatchObject({ recipients: 1 });
});

test('a draining pool joins a second drain to the first and takes no newcomer', async () => {
  const pool = new ConnectionsPool();
  const member = connectInMemory('1', 'default', new MemorySocket(false));
  await pool.newConnection(member.connection);
  const drained = pool.drainConnections(10);
  const joined = pool.drainConnections(10);
  await expect(pool.drainConnections(0)).rejects.toThrow(RangeError);
  const late = connectInMemory('2');
  const refused = once(pool, 'refused');
  await pool.newConnection(late.connection);
  expect(await refused).toEqual([late.connection, expect.objectContaining({ code: 'ERR_POOL_DRAINING' })]);
  expect(late.connection.closed).toBe(true);
  expect(late.socket.closes).toMatchObject([{ code: 1013 }]);
  // A connection that is already in the pool stays in it.
  await expect(pool.newConnection(member.connection)).resolves.toBeUndefined();
  member.socket.end();
  expect(await joined).toBe(await drained);
  expect(pool.stats()).toMatchObject({ drains: 1, refused: 1 });
});

test.each(hostileStrings)('%s is an ordinary namespace and an ordinary id', async (_title, name) => {
  const pool = new ConnectionsPool();
  const bystander = connectInMemory('bystander', 'elsewhere');
  await pool.newConnection(bystander.connection);
  const empty = vi.fn();
  const { connection, socket } = connectInMemory(name, name);
  const twin = connectInMemory(`${name}'`, name);
  expect(pool.hasNamespace(name)).toBe(false);
  expect(pool.getConnection(name, name)).toBeUndefined();

  await pool.newConnection(connection);
  await pool.newConnection(twin.connection);
  expect([...pool.connections.keys()]).toEqual(['elsewhere', name]);
  expect(pool.getConnection(name, name)).toBe(connection);
  const duplicate = connectInMemory(name, name);
  const refused = once(pool, 'refused');
  await pool.newConnection(duplicate.connection);
  expect(await refused).toEqual([
    duplicate.connection,
    expect.objectContaining({ code: 'ERR_DUPLICATE_CONNECTION' }),
  ]);
  expect(duplicate.connection.closed).toBe(true);
  await expect(pool.send(name, name, 'private')).resolves.toBe(true);
  await expect(pool.broadcastMessage(name, 'all', [name])).resolves.toMatchObject({
    recipients: 1,
    sent: 1,
  });
  expect(connection.toRemote(name)).toEqual({ id: name, namespace: name, instanceId: name });

  await pool.removeConnection(twin.connection, empty);
  expect(empty).not.toHaveBeenCalled();
  await pool.removeConnection(connection, empty);
  expect(empty).toHaveBeenCalledTimes(1);
  expect(pool.hasNamespace(name)).toBe(false);
  expect(socket.sent).toEqual(['private']);
  expect(twin.socket.sent).toEqual(['all']);
  expect(bystander.socket.sent).toEqual([]);
  expect(({} as Record<string, unknown>)['bystander']).toBeUndefined();
});

/** A pool in which a newcomer replaces a connection whose pending messages make user code `act` on the newcomer. */
async function replaceWhile(
  act: (pool: ConnectionsPool, newcomer: Connection, socket: MemorySocket) => void,
) {
  const pool = new ConnectionsPool({ onDuplicate: 'replace' });
  const events: string[] = [];
  const { socket, connection: newcomer } = connectInMemory('1', 'default', new MemorySocket());
  const name = (connection: Connection): string => (connection === newcomer ? 'new' : 'old');
  pool.on('connection', (connection) => events.push(`+ ${name(connection)}`));
  pool.on('disconnection', (connection) => events.push(`- ${name(connection)}`));
  pool.on('emptyNamespace', () => events.push('0'));
  const old = new Connection('1', 'default', endingWithTest(new MemorySocket()), {
    send: () => act(pool, newcomer, socket),
    close: () => undefined,
  });
  await pool.newConnection(old);
  void pool.broadcastMessage('default', 'pending');
  await pool.newConnection(newcomer);
  return { pool, newcomer, events };
}

// It stayed in the pool for ever, although it was closed.
test.each<[string, (newcomer: Connection, socket: MemorySocket) => void]>([
  ['is terminated', (newcomer) => newcomer.terminate()],
  ['is closed by its peer', (_, socket) => socket.end(4000)],
])('a newcomer that %s while it replaces another one is gone', async (_, end) => {
  const { pool, newcomer, events } = await replaceWhile((_pool, connection, socket) =>
    end(connection, socket),
  );
  expect(pool.getConnection('default', '1')).toBeUndefined();
  expect(pool.stats()).toMatchObject({ connections: 0, namespaces: 0 });
  expect(newcomer.closed).toBe(true);
  expect(events).toEqual(['+ old', '0', '- old']);
});

// From then on the pool treated it as a member: it could never join again.
test('a newcomer that is removed while it replaces another one can join again', async () => {
  const { pool, newcomer, events } = await replaceWhile(
    (own, connection) => void own.removeConnection(connection),
  );
  expect(pool.stats()).toMatchObject({ connections: 0, namespaces: 0 });
  expect(pool.getConnection('default', '1')).toBeUndefined();
  expect(newcomer.closed).toBe(false);
  await pool.newConnection(newcomer);
  expect(pool.getConnection('default', '1')).toBe(newcomer);
  expect(await pool.broadcastMessage('default', 'x')).toMatchObject({ recipients: 1, sent: 1 });
  // A connection whose joining was never emitted must not be emitted as having left.
  expect(events).toEqual(['+ old', '0', '- old', '+ new']);
});

test('a newcomer that is removed and joins again while it replaces another is announced once', async () => {
  const { pool, newcomer, events } = await replaceWhile((own, connection) => {
    void own.removeConnection(connection);
    void own.newConnection(connection);
  });
  expect(pool.getConnection('default', '1')).toBe(newcomer);
  expect(pool.stats()).toMatchObject({ connections: 1, namespaces: 1 });
  expect(events.filter((event) => event !== '0')).toEqual(['+ old', '+ new', '- old']);
});

/** Its `close` never settles. */
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

// A subclass saved something before it closed. Meanwhile the connection that had been refused, or replaced by a newer
// one, continued as usual: the application handled its messages, for ever if the close hung.
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
