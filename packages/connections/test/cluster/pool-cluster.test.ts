import { describe, expect, test } from 'vitest';
import {
  Connection,
  ConnectionsPool,
  type ClusterAdapter,
  type ConnectionsPoolOptions,
  type WebSocketMessage,
} from '../../src/index.js';
import { memoryBus, type MemoryBusOptions } from '../../src/testing.js';
import { leavesAfterTest, pass, poolsOn, useFakeClusters } from '../support/cluster-nodes.js';
import { connectInMemory, MemorySocket } from '../support/memory-socket.js';

/** Two pools that know each other. */
async function twoPools(bus: MemoryBusOptions = {}, options: ConnectionsPoolOptions = {}) {
  const broker = memoryBus(bus);
  const [a, b] = (await poolsOn(broker, 2, options)) as unknown as [ConnectionsPool, ConnectionsPool];
  return { bus: broker, a, b };
}

/** Adds a client to a pool, and waits until its namespace is subscribed to. */
async function join(pool: ConnectionsPool, id: string, namespace = 'x', socket = new MemorySocket()) {
  const { connection } = connectInMemory(id, namespace, socket);
  const joined = pool.newConnection(connection);
  await pass(10);
  await joined;
  return { connection, socket };
}

describe('pools with an adapter', () => {
  useFakeClusters();

  test('broadcasts reach the members of all pools once, in the order of the calls', async () => {
    const { a, b } = await twoPools();
    const [one, two] = [await join(a, '1'), await join(b, '2')];
    void a.broadcastMessage('x', 'text');
    void a.broadcastMessage('x', Buffer.from('bytes'));
    void a.broadcastJsonMessage('x', { json: true }, ['1']);
    await pass(10);
    expect(one.socket.sent).toEqual(['text', Buffer.from('bytes')]);
    expect(two.socket.sent).toEqual(['text', Buffer.from('bytes'), '{"json":true}']);
  });

  test('a broadcast to a namespace without local members reaches the other pool, and counts local recipients only', async () => {
    const { a, b } = await twoPools();
    const { socket } = await join(b, '1');
    expect(await a.broadcastMessage('x', 'hi')).toMatchObject({ recipients: 0 });
    await pass(10);
    expect(socket.sent).toEqual(['hi']);
  });

  test('local broadcasts, sends and closes do not leave their node', async () => {
    const { a, b } = await twoPools();
    const { socket } = await join(b, '1');
    void a.broadcastMessage('x', 'no', { local: true });
    void a.closeAll('x', { local: true });
    const sent = a.send('x', '1', 'no', { local: true });
    await pass(10);
    expect(await sent).toBe(false);
    expect(socket.sent).toEqual([]);
    expect(socket.closes).toEqual([]);
  });

  test('rooms and exceptions apply to members of other pools', async () => {
    const { a, b } = await twoPools();
    const [one, two] = [await join(b, '1'), await join(b, '2')];
    one.connection.join('red');
    two.connection.join(['red', 'blue']);
    void a.broadcastMessage('x', 'red', { rooms: 'red' });
    void a.broadcastMessage('x', 'red, not blue', { rooms: ['red'], exceptRooms: ['blue'] });
    void a.broadcastMessage('x', 'not 1', ['1']);
    await pass(10);
    expect(one.socket.sent).toEqual(['red', 'red, not blue']);
    expect(two.socket.sent).toEqual(['red', 'not 1']);
    const counts = Promise.all([a.cluster.count('x'), a.cluster.count('x', { room: 'blue' })]);
    await pass(10);
    expect((await counts).map(({ total }) => total)).toEqual([2, 1]);
  });

  test.each(['send', 'sendJson', 'sendError'] as const)(
    '%s reaches a connection of another pool',
    async (method) => {
      const { a, b } = await twoPools();
      const { socket } = await join(b, '1');
      const sent = (a[method] as ConnectionsPool['sendError']).call(a, 'x', '1', 'hi');
      await pass(10);
      expect(await sent).toBe(true);
      expect(socket.sent).toEqual([method === 'sendJson' ? '"hi"' : 'hi']);
    },
  );

  test('sendThenClose closes a connection of another pool after the message, and resolves before the close', async () => {
    const { a, b } = await twoPools();
    const { socket } = await join(b, '1', 'x', new MemorySocket(false));
    const sent = a.sendThenClose('x', '1', 'bye', 4000, 'why');
    await pass(10);
    expect(await sent).toBe(true);
    expect(socket.sent).toEqual(['bye']);
    expect(socket.closes).toEqual([{ code: 4000, reason: 'why' }]);
  });

  test('a message goes to the new connection of an id on another node while the old one is closing here', async () => {
    const { a, b } = await twoPools();
    const old = await join(a, '1', 'x', new MemorySocket(false));
    void old.connection.close();
    const young = await join(b, '1');
    const sent = a.send('x', '1', 'hi');
    await pass(10);
    expect(await sent).toBe(true);
    expect(young.socket.sent).toEqual(['hi']);
  });

  test('close and closeAll close connections of other pools', async () => {
    const { a, b } = await twoPools();
    const [one, two] = [await join(b, '1'), await join(b, '2')];
    const closed = a.close('x', '1', 4001);
    await pass(10);
    await closed;
    expect(one.socket.closes).toEqual([{ code: 4001, reason: '' }]);
    const allClosed = a.closeAll('x', 4002, 'all');
    await pass(10);
    await allClosed;
    expect(two.socket.closes).toEqual([{ code: 4002, reason: 'all' }]);
    expect(b.hasNamespace('x')).toBe(false);
  });

  test('a fatal broadcastError reaches all pools, and closes its recipients once', async () => {
    const { a, b } = await twoPools();
    const [one, two, three] = [await join(a, '1'), await join(b, '2'), await join(b, '3')];
    void a.broadcastError('x', 'fatal', 4003, 'why', ['3']);
    await pass(10);
    for (const { socket } of [one, two]) {
      expect(socket.sent).toEqual(['fatal']);
      expect(socket.closes).toEqual([{ code: 4003, reason: 'why' }]);
    }
    expect(three.socket.sent).toEqual([]);
  });

  test('cluster.has finds connections of every pool', async () => {
    const { a, b } = await twoPools();
    await join(a, '1');
    await join(b, '2');
    const found = Promise.all(['1', '2', '3'].map((id) => a.cluster.has('x', id)));
    await pass(10);
    expect(await found).toEqual([true, true, false]);
  });

  test('the newest connection of an id replaces that of another pool', async () => {
    const { a, b } = await twoPools({}, { onDuplicate: 'replace' });
    const old = await join(a, '1');
    await pass(50);
    const young = await join(b, '1');
    await pass(50);
    expect(old.socket.closes).toEqual([{ code: 4409, reason: 'Replaced by a newer connection' }]);
    expect(young.socket.closes).toEqual([]);
    expect([a.getConnection('x', '1'), b.getConnection('x', '1')]).toEqual([undefined, young.connection]);
  });

  test('newConnection waits for the subscription, so that the connection misses no later message', async () => {
    const { a, b } = await twoPools();
    const { connection, socket } = connectInMemory('1', 'x');
    let isJoined = false;
    void b.newConnection(connection).then(() => {
      isJoined = true;
      void a.broadcastMessage('x', 'after');
    });
    await Promise.resolve();
    expect(isJoined).toBe(false);
    await pass(10);
    expect(socket.sent).toEqual(['after']);
  });

  test('newConnection does not wait while the broker is away', async () => {
    const { bus, b } = await twoPools();
    bus.stop();
    const { connection } = connectInMemory('1', 'x');
    await b.newConnection(connection);
    expect(b.getConnection('x', '1')).toBe(connection);
  });

  test('newConnection waits for joinTimeout at most', async () => {
    let isSlow = false;
    const adapter: ClusterAdapter = memoryBus().adapter();
    const subscribe = adapter.subscribe.bind(adapter);
    adapter.subscribe = (channels) => (isSlow ? new Promise(() => undefined) : subscribe(channels));
    const pool = new ConnectionsPool({ adapter });
    await pass(500);
    isSlow = true;
    let isJoined = false;
    void pool.newConnection(connectInMemory().connection).then(() => (isJoined = true));
    await pass(900);
    expect(isJoined).toBe(false);
    await pass(300);
    expect(isJoined).toBe(true);
    void pool.cluster.leave();
    await pass(6_000);
  });

  test('a local delivery does not wait while the broker is away, and other nodes get the messages late but never stale', async () => {
    const { bus, a, b } = await twoPools();
    const [one, two] = [await join(a, '1'), await join(b, '2')];
    bus.stop();
    await pass(1);
    void a.broadcastMessage('x', 'kept');
    const sent = await a.send('x', '2', 'never');
    expect(sent).toBe(false);
    await pass(100);
    expect(one.socket.sent).toEqual(['kept']);
    bus.start();
    await pass(500);
    expect(two.socket.sent).toEqual(['kept']);
    bus.stop();
    void a.broadcastMessage('x', 'stale');
    await pass(3_000);
    bus.start();
    await pass(500);
    expect(two.socket.sent).toEqual(['kept']);
    expect(a.cluster.stats().dropped).toBe(1);
  });

  test('the first connection of a node that had none for a minute is counted, found and sent to at once', async () => {
    const { a, b } = await twoPools();
    await pass(60_000);
    const { connection, socket } = connectInMemory('1', 'x');
    const calls = b
      .newConnection(connection)
      .then(() => Promise.all([a.cluster.count('x'), a.cluster.has('x', '1'), a.send('x', '1', 'hi')]));
    await pass(50);
    const [count, isThere, isSent] = await calls;
    expect(count).toEqual({ total: 1, answered: 2, missing: [] });
    expect([isThere, isSent, socket.sent]).toEqual([true, true, ['hi']]);
  });

  test('the broadcast of a program that leaves at once is delivered', async () => {
    const { bus, b } = await twoPools();
    const { socket } = await join(b, '1');
    const program = new ConnectionsPool({ adapter: bus.adapter() });
    void program.broadcastMessage('x', 'done');
    const left = program.cluster.leave();
    expect(program.cluster.state).toBe('alone');
    await pass(300);
    await left;
    expect(socket.sent).toEqual(['done']);
    expect(program.cluster.stats()).toMatchObject({ dropped: 0, queuedBytes: 0 });
    expect(b.cluster.nodes.size).toBe(2);
    expect(bus.channels).not.toContain(`n${program.cluster.nodeId}`);
  });

  test('a pool that leaves while the broker is away drops waiting messages after 2.5 s, and emits nothing more', async () => {
    const { bus, a, b } = await twoPools({}, { cluster: { maxQueuedMs: 60_000 } });
    const events: string[] = [];
    for (const name of ['node', 'degraded', 'recovered'] as const) a.on(name, () => events.push(name));
    await join(b, '1');
    bus.stop();
    await pass(10);
    expect(events).toEqual(['degraded']);
    void a.broadcastMessage('x', 'never');
    let isOver = false;
    void a.cluster.leave().then(() => (isOver = true));
    await pass(2_000);
    expect(isOver).toBe(false);
    await pass(1_000);
    expect(isOver).toBe(true);
    expect(a.cluster.stats().dropped).toBe(1);
    bus.start();
    await pass(10_000);
    expect(events).toEqual(['degraded']);
  });

  test('a remote sendThenClose resolves false and still closes if an overridden send throws', async () => {
    const { a, b } = await twoPools();
    const errors: unknown[] = [];
    b.on('error', (error) => errors.push(error));
    const { connection, socket } = connectInMemory('1', 'x');
    const fault = new Error('No more ink');
    Object.assign(connection, {
      send: () => {
        throw fault;
      },
    });
    void b.newConnection(connection);
    await pass(10);
    const sent = a.sendThenClose('x', '1', 'hi', 4000, 'bye');
    await pass(50);
    // Well before requestTimeout.
    expect(await sent).toBe(false);
    expect(errors).toEqual([fault]);
    expect(socket.closes).toEqual([{ code: 4000, reason: 'bye' }]);
  });

  test('a remote sendThenClose closes after a slow overridden send has finished', async () => {
    // A local call always waited. Over the cluster the connection was closed first, and the message lost.
    const { a, b } = await twoPools();
    class Careful extends Connection<string, WebSocketMessage, MemorySocket> {
      override async send(message: never): Promise<boolean> {
        await new Promise((resolve) => setTimeout(resolve, 100));
        return super.send(message);
      }
    }
    const socket = new MemorySocket();
    void b.newConnection(new Careful('1', 'x', socket) as never);
    await pass(10);
    const sent = a.sendThenClose('x', '1', 'hi', 4000, 'bye');
    await pass(50);
    expect([socket.sent, socket.closes]).toEqual([[], []]);
    await pass(150);
    expect([socket.sent, socket.closes]).toEqual([['hi'], [{ code: 4000, reason: 'bye' }]]);
    expect(await sent).toBe(true);
  });

  test('a remote send counts as sent if an overridden send answers nothing', async () => {
    const { a, b } = await twoPools();
    class Silent extends Connection<string, WebSocketMessage, MemorySocket> {
      override send(message: never): Promise<never> {
        return super.send(message).then(() => undefined as never);
      }
    }
    const socket = new MemorySocket();
    void b.newConnection(new Silent('1', 'x', socket) as never);
    await pass(10);
    const sent = a.send('x', '1', 'hi');
    await pass(10);
    expect([await sent, socket.sent]).toEqual([true, ['hi']]);
  });

  test('a pool without other nodes counts anew with every call', async () => {
    // It kept the first answer for ever.
    const pool = new ConnectionsPool({ adapter: memoryBus().adapter() });
    leavesAfterTest(pool.cluster);
    await pass(500);
    expect(await pool.cluster.count('x')).toMatchObject({ total: 0 });
    await join(pool, '1');
    expect(await pool.cluster.count('x')).toMatchObject({ total: 1, answered: 1 });
    void join(pool, '2');
    expect(await pool.cluster.count('x')).toMatchObject({ total: 2 });
  });

  test('a pool with an adapter refuses Blobs and ids that are not strings', async () => {
    const { a } = await twoPools();
    const { connection } = connectInMemory(1 as unknown as string);
    await expect(a.newConnection(connection)).rejects.toThrow(TypeError);
    await expect(a.send('x', '1', new Blob([]))).rejects.toThrow(TypeError);
    await expect(a.broadcastMessage('x', new Blob([]))).rejects.toThrow(TypeError);
    await expect(a.cluster.has('x', 1)).rejects.toThrow(TypeError);
  });

  test('a pool is alone if it has no adapter or has left the cluster', async () => {
    const { a, b } = await twoPools();
    await join(a, '1');
    const left = a.cluster.leave();
    expect(a.cluster.state).toBe('alone');
    await pass(10);
    await left;
    expect([...a.cluster.nodes.keys()]).toEqual([a.cluster.nodeId]);
    expect([...b.cluster.nodes.keys()]).toEqual([b.cluster.nodeId]);
    expect(await a.cluster.count('x')).toEqual({ total: 1, answered: 1, missing: [] });
    const pool = new ConnectionsPool({ cluster: { nodeName: 'me' } });
    expect(pool.cluster.state).toBe('alone');
    expect([...pool.cluster.nodes.values()]).toMatchObject([{ id: pool.cluster.nodeId, name: 'me' }]);
    expect(await pool.cluster.has('x', '1')).toBe(false);
    await pool.cluster.leave();
  });

  test('an adapter cannot be shared by two pools', async () => {
    const { a } = await twoPools();
    const adapter = memoryBus().adapter();
    const pool = new ConnectionsPool({ adapter });
    expect(() => new ConnectionsPool({ adapter })).toThrow('make one for each pool');
    expect(a.cluster.state).toBe('up');
    void pool.cluster.leave();
    await pass(10);
  });

  test('an overridden send gets relayed messages at the end of the turn', async () => {
    const { a, b } = await twoPools();
    const { connection, socket } = await join(b, '1');
    const messages: unknown[] = [];
    const { connection: other } = connectInMemory('2', 'x');
    Object.assign(other, { send: (message: unknown) => Promise.resolve(messages.push(message) > 0) });
    void b.newConnection(other);
    await pass(10);
    void a.broadcastMessage('x', 'hi');
    await pass(10);
    expect(messages).toEqual(['hi']);
    expect(socket.sent).toEqual(['hi']);
    expect(connection.closed).toBe(false);
  });
});
