import { afterEach, describe, expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool, type ConnectionsPoolOptions } from '../../src/index.js';
import { useFakeClock } from '../support/fake-clock.js';
import { FakeWsSocket } from '../support/fake-ws-socket.js';
import type { MemorySocket } from '../support/memory-socket.js';

const HEARTBEAT = { interval: 300, timeout: 300 };

/** Ten timeouts from the first look at a paused socket; the looks are rounded up to slots of the timing wheel. */
function expectTenTimeouts(livedMs: number): void {
  expect(livedMs).toBeGreaterThanOrEqual(10 * HEARTBEAT.timeout);
  expect(livedMs).toBeLessThanOrEqual(15 * HEARTBEAT.timeout);
}

describe('signs of life of a ws socket', () => {
  useFakeClock();
  const connections: Connection[] = [];
  afterEach(() => {
    for (const connection of connections.splice(0)) connection.terminate();
  });

  /** @param connection is added instead of an ordinary connection over the socket */
  async function join(
    pool: ConnectionsPool,
    socket: MemorySocket,
    connection: Connection = new Connection(`${connections.length}`, 'default', socket),
  ): Promise<Connection> {
    connections.push(connection);
    await pool.newConnection(connection);
    return connection;
  }

  function newPool(options: ConnectionsPoolOptions<Connection> = {}): ConnectionsPool {
    return new ConnectionsPool({ heartbeat: HEARTBEAT, ...options });
  }

  /** How long the connection stays open from now on, in ms. */
  async function timeToLive(connection: Connection): Promise<number> {
    const fromMs = performance.now();
    let closedAtMs = Infinity;
    connection.on('close', () => (closedAtMs = performance.now()));
    while (closedAtMs === Infinity) await vi.advanceTimersByTimeAsync(10);
    return closedAtMs - fromMs;
  }

  // The pool had a heartbeat and an idle limit. Both looked at the socket at the same moment, and the second saw no new
  // bytes because the first had already seen them: clients were closed in the middle of an upload.
  test('a heartbeat and an idle limit that look at the same time both see the bytes of an upload', async () => {
    const pool = newPool({ heartbeat: { interval: 1_000, timeout: 1_000 }, idleTimeout: 3_000 });
    const sockets = Array.from({ length: 20 }, () => new FakeWsSocket());
    for (const socket of sockets) {
      // A pong cannot overtake the one large message that the client is sending.
      socket.answersPings = false;
      socket._receiver._state = 5;
      await join(pool, socket);
    }
    const upload = setInterval(() => {
      for (const { _socket: tcp } of sockets) tcp.bytesRead += 1_000;
    }, 150);
    await vi.advanceTimersByTimeAsync(12_000);
    expect(pool.stats()).toMatchObject({ connections: 20, idleTimeouts: 0, heartbeatsLost: 0 });

    // The upload stops in the middle of the message: now the clients are silent.
    clearInterval(upload);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(pool.stats().connections).toBe(0);
  });

  // A server that paused a client a second time, long after the first, lost it at once: the ten timeouts were counted
  // from the first pause.
  test('a socket that is paused for the second time has ten timeouts again', async () => {
    const pool = newPool();
    const socket = new FakeWsSocket();
    const connection = await join(pool, socket);
    socket.pause();
    await vi.advanceTimersByTimeAsync(1_000);
    socket.resume();
    await vi.advanceTimersByTimeAsync(4_000);
    expect(connection.closed).toBe(false);
    socket.pause();
    expectTenTimeouts(await timeToLive(connection));
  });

  // If a tracer had replaced `send`, or handlers were used, the library no longer asked whether the socket was paused:
  // the connection ended after the first timeout.
  test('a paused ws socket whose send is patched has ten timeouts', async () => {
    const pool = newPool();
    const socket = new FakeWsSocket();
    const send = socket.send.bind(socket);
    socket.send = (message) => send(message);
    const connection = await join(pool, socket);
    socket.pause();
    expectTenTimeouts(await timeToLive(connection));
  });

  test('a paused ws socket with handlers has ten timeouts', async () => {
    const pool = newPool();
    const socket = new FakeWsSocket();
    const handlers = {
      send: (message: unknown) => socket.send(message),
      close: (code?: number, reason?: string) => socket.close(code, reason),
    };
    const connection = await join(pool, socket, new Connection('handled', 'default', socket, handlers));
    expect(connection.capabilities.ping).toBe(true);
    socket.pause();
    expectTenTimeouts(await timeToLive(connection));
  });
});
