import { describe, expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { useFakeClock } from '../support/fake-clock.js';
import { connectInMemory, MemorySocket } from '../support/memory-socket.js';

describe('a drain of connections that are already closing', () => {
  useFakeClock();

  // The client had sent its close frame and vanished, when the lid of a laptop was closed. Nobody ended its socket, and
  // the drain of the deployment waited for it.
  test('grace holds for a connection whose peer has begun to close', async () => {
    const pool = new ConnectionsPool();
    const { connection, socket } = connectInMemory('1', 'default', new MemorySocket(false));
    await pool.newConnection(connection);
    socket.readyState = 2;
    const drained = pool.drainConnections({ grace: 500 });
    await vi.advanceTimersByTimeAsync(499);
    expect(socket.readyState).toBe(2);
    await vi.advanceTimersByTimeAsync(201);
    expect(socket.readyState).toBe(3);
    expect(await drained).toMatchObject({ closed: 0, terminated: 0, left: 1 });
  });

  test('grace holds for a connection that was closed before the drain with a longer closeTimeout', async () => {
    const pool = new ConnectionsPool({ closeTimeout: 4_000 });
    const { connection, socket } = connectInMemory('1', 'default', new MemorySocket(false));
    await pool.newConnection(connection);
    void connection.close(4000);
    const drained = pool.drainConnections({ grace: 300 });
    await vi.advanceTimersByTimeAsync(299);
    expect(socket.readyState).toBe(2);
    await vi.advanceTimersByTimeAsync(201);
    expect(socket.readyState).toBe(3);
    expect(await drained).toMatchObject({ closed: 0, terminated: 0, left: 1 });
  });

  test('a longer grace does not extend the deadline of a connection that was closed before the drain', async () => {
    const pool = new ConnectionsPool({ closeTimeout: 300 });
    const { connection, socket } = connectInMemory('1', 'default', new MemorySocket(false));
    await pool.newConnection(connection);
    void connection.close(4000);
    const drained = pool.drainConnections({ grace: 4_000 });
    await vi.advanceTimersByTimeAsync(500);
    expect(socket.readyState).toBe(3);
    expect(await drained).toMatchObject({ left: 1 });
  });
});

describe('a drain that replaces an aborted one', () => {
  useFakeClock();

  async function poolOf(count: number): Promise<{ pool: ConnectionsPool; closedAtMs: number[] }> {
    const pool = new ConnectionsPool();
    const closedAtMs: number[] = [];
    for (let i = 0; i < count; i++) {
      const { connection } = connectInMemory(`${i}`);
      connection.on('close', () => closedAtMs.push(performance.now()));
      await pool.newConnection(connection);
    }
    return { pool, closedAtMs };
  }

  // Two servers shared a pool, and the shutdown of the first was aborted. A client of the second had left by itself in
  // the meantime: the second shutdown waited for it for ever.
  test('a drain that replaces an aborted one resolves although one of its sockets has closed in the meantime', async () => {
    const { pool } = await poolOf(20);
    const [leaves, stays] = [new MemorySocket(), new MemorySocket()];
    const abort = new AbortController();
    const first = pool.drainConnections({ maxPerSecond: 10, interval: 100, signal: abort.signal });
    const aborted = expect(first).rejects.toThrow('aborted');
    const second = pool.drainConnections({ maxPerSecond: 1_000, sockets: [leaves, stays] });
    await vi.advanceTimersByTimeAsync(300);
    leaves.end(1000);
    await vi.advanceTimersByTimeAsync(300);
    abort.abort();
    await aborted;
    const onDrained = vi.fn();
    void second.then(onDrained);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(onDrained).toHaveBeenCalledTimes(1);
    expect(pool.stats().connections).toBe(0);
    expect(stays.readyState).toBe(3);
    expect(leaves.closes).toEqual([]);
  });

  // The drain that replaced the aborted one began with a full second's allowance: twice the rate reconnected within a
  // second.
  test('a drain that replaces an aborted one keeps the rate across the abort', async () => {
    const { pool, closedAtMs } = await poolOf(25);
    const startedAtMs = performance.now();
    const abort = new AbortController();
    const first = pool.drainConnections({ maxPerSecond: 10, interval: 1_000, signal: abort.signal });
    const aborted = expect(first).rejects.toThrow('aborted');
    const second = pool.drainConnections({ maxPerSecond: 10, interval: 1_000 });
    await vi.advanceTimersByTimeAsync(500);
    expect(closedAtMs).toHaveLength(10);
    abort.abort();
    await aborted;
    await vi.advanceTimersByTimeAsync(startedAtMs + 1_000 - performance.now());
    expect(closedAtMs).toHaveLength(10);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(await second).toMatchObject({ closed: 15 });
    for (const [i, atMs] of closedAtMs.slice(10).entries())
      expect(atMs - closedAtMs[i]!).toBeGreaterThanOrEqual(1_000);
  });
});

test('a drain does not close a connection of another pool that is among its sockets', async () => {
  const [pool, other] = [new ConnectionsPool(), new ConnectionsPool()];
  const socket = new MemorySocket();
  await other.newConnection(new Connection('1', 'default', socket));
  expect(await pool.drainConnections({ sockets: [socket] })).toMatchObject({ closed: 0 });
  expect(socket.readyState).toBe(1);
});
