import { once } from 'node:events';
import { describe, expect, test, vi } from 'vitest';
import { coreOf } from '../../src/connection.js';
import { Connection, ConnectionsPool, type WebSocketMessage } from '../../src/index.js';
import { Loopback, type Client } from '../support/loopback.js';
import { onTestFinished } from '../support/on-test-finished.js';
import { poolOf } from '../support/pool-of.js';

/** Long enough that a busy machine is not taken for a silent client, in ms. */
const IDLE_MS = 500;

/** A member of a pool with a short idle limit. Its client's close tells when the limit has passed. */
async function connectIdle() {
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool({ idleTimeout: IDLE_MS });
  const member = await loopback.connect('1');
  const joinedAtMs = performance.now();
  await pool.newConnection(member.connection);
  return { ...member, loopback, pool, joinedAtMs };
}

/**
 * Does something every 20 ms until another connection, which joins now and stays silent, has been closed. A connection
 * that joined before and was taken for silent has been closed by then too.
 */
async function whileWitnessDies(
  loopback: Loopback,
  pool: ConnectionsPool,
  act: () => unknown,
): Promise<void> {
  const witness = await loopback.connect('witness');
  await pool.newConnection(witness.connection);
  const timer = setInterval(() => void act(), 20);
  onTestFinished(() => clearInterval(timer));
  await expectIdleClose(witness.client);
  clearInterval(timer);
}

async function expectIdleClose(client: Client): Promise<void> {
  expect(await client.closed).toEqual({ code: 4408, reason: 'Idle timeout' });
}

describe('a silent connection', () => {
  test('a silent connection is closed with 4408 and not before its limit, leaves the pool and is counted', async () => {
    const { client, connection, pool, joinedAtMs } = await connectIdle();
    const closed = once(connection, 'close');
    await expectIdleClose(client);
    expect(performance.now() - joinedAtMs).toBeGreaterThanOrEqual(IDLE_MS);
    expect(await closed).toEqual([4408, 'Idle timeout']);
    expect(connection.closed).toBe(true);
    expect(pool.hasNamespace('default')).toBe(false);
    expect(pool.stats().idleTimeouts).toBe(1);
  });

  test('sending to a client does not restart its idle limit', async () => {
    const { client, socket, connection, pool } = await connectIdle();
    const timer = setInterval(() => {
      void connection.send('x');
      void pool.broadcastMessage('default', 'x');
      socket.send('past the library');
    }, 20);
    onTestFinished(() => clearInterval(timer));
    await expectIdleClose(client);
    expect(client.inbox.length).toBeGreaterThan(0);
  });
});

// Sending used to restart the idle limit, and receiving did not.
test('messages, pings and unsolicited pongs of a client restart its idle limit, and silence ends it', async () => {
  const { loopback, pool } = await connectIdle();
  const acts: Record<string, (client: Client) => void> = {
    text: ({ socket }) => socket.send('x'),
    binary: ({ socket }) => socket.send(Buffer.from('x')),
    empty: ({ socket }) => socket.send(''),
    ping: ({ socket }) => socket.ping(),
    pong: ({ socket }) => socket.pong(),
  };
  const members: Awaited<ReturnType<Loopback['connect']>>[] = [];
  for (const id of Object.keys(acts)) {
    const member = await loopback.connect(id);
    members.push(member);
    await pool.newConnection(member.connection);
  }
  await whileWitnessDies(loopback, pool, () => {
    for (const { client, connection } of members) acts[connection.id]!(client);
  });
  const isClosed = members.map(({ connection: { id, closed } }) => [id, closed]);
  expect(Object.fromEntries(isClosed)).toEqual({
    text: false,
    binary: false,
    empty: false,
    ping: false,
    pong: false,
  });
  await Promise.all(members.map(({ client }) => expectIdleClose(client)));
});

describe('updateTimeout() and clearTimeout()', () => {
  test('no idle limit runs after clearTimeout(), in a pool without one, or outside of a pool', async () => {
    const { client, connection, loopback, pool } = await connectIdle();
    connection.clearTimeout();
    const unlimited = await loopback.connect('unlimited');
    const alone = await loopback.connect('alone');
    const removed = await loopback.connect('removed');
    await new ConnectionsPool().newConnection(unlimited.connection);
    await pool.newConnection(removed.connection);
    await pool.removeConnection(removed.connection);

    await whileWitnessDies(loopback, pool, () => undefined);
    expect(connection.closed).toBe(false);
    expect(unlimited.connection.closed).toBe(false);
    expect(alone.connection.closed).toBe(false);
    expect(removed.connection.closed).toBe(false);

    connection.updateTimeout();
    await expectIdleClose(client);
  });

  test('updateTimeout() restarts the idle limit', async () => {
    const { connection, client, loopback, pool } = await connectIdle();
    await whileWitnessDies(loopback, pool, () => connection.updateTimeout());
    expect(connection.closed).toBe(false);
    await expectIdleClose(client);
  });

  // A send to a closed connection started its timer again, which kept it in memory and closed it a second time.
  test('a closed connection starts no idle limit', async () => {
    const { connection, client, loopback, pool } = await connectIdle();
    const closes: unknown[] = [];
    connection.on('close', (code) => closes.push(code));
    await connection.close(4000);
    connection.updateTimeout();
    await connection.send('x');
    connection.handleMessage('late');
    connection.updateTimeout();
    expect(coreOf(connection).dueSlot).toBe(0);
    await whileWitnessDies(loopback, pool, () => connection.updateTimeout());
    expect(closes).toEqual([4000]);
    expect((await client.closed).code).toBe(4000);
  });

  test('a peer that does not answer the idle close is terminated after the grace period', async () => {
    const pool = new ConnectionsPool({ idleTimeout: 100, closeTimeout: 100 });
    const socket = { send: () => undefined, close: () => undefined };
    const connection = new Connection('silent', 'default', socket);
    const closed = once(connection, 'close');
    await pool.newConnection(connection);
    expect(await closed).toEqual([1006, '']);
  });
});

// The original library made one timer object per message and connection.
test('idle limits create no timer per message and none per connection', async () => {
  // Longer than the test takes on any machine: the wheel must not stop meanwhile.
  const idleTimeout = 60_000;
  const { pool, loopback, members } = await poolOf(1, { pool: { idleTimeout }, isNumbered: true });
  const [{ client, connection }] = members;
  for (let id = 2; id < 10; id++) await pool.newConnection((await loopback.connect(String(id))).connection);
  const timeouts = vi.spyOn(globalThis, 'setTimeout');
  const intervals = vi.spyOn(globalThis, 'setInterval');
  onTestFinished(() => void vi.restoreAllMocks());

  await pool.newConnection((await loopback.connect('late')).connection);
  for (let message = 0; message < 100; message++) {
    client.socket.send('in');
    void connection.send('out');
    connection.updateTimeout();
  }
  await client.exactly(100);

  // Timers of `ws` and Node do not belong to the library.
  const ours = [...timeouts.mock.calls, ...intervals.mock.calls].filter(([, ms]) => ms === idleTimeout);
  expect(ours).toEqual([]);
  expect(intervals).not.toHaveBeenCalled();
});

test('a ping event of an event target restarts the idle limit', async () => {
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
