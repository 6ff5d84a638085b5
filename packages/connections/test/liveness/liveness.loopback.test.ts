import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { Loopback } from '../support/loopback.js';
import { onTestFinished } from '../support/on-test-finished.js';
import { connectMute } from '../support/raw-client.js';

// These tests wait for time to pass, so they run at the same time.
describe.concurrent('a heartbeat on real sockets', () => {
  const INTERVAL_MS = 400;
  const TIMEOUT_MS = 200;
  const SILENT = { autoPong: false };

  function newPool(): ConnectionsPool {
    return new ConnectionsPool({ heartbeat: { interval: INTERVAL_MS, timeout: TIMEOUT_MS } });
  }

  async function join(pool: ConnectionsPool, loopback: Loopback, id: string, options: object = {}) {
    const { client, socket } = await loopback.pair(options);
    const connection = new Connection(id, 'default', socket);
    const closed = once(connection, 'close');
    await pool.newConnection(connection);
    return { client, connection, closed };
  }

  /** Resolves when two silent peers, one after the other, have been terminated: enough time for other peers too. */
  async function witnessesDie(pool: ConnectionsPool, loopback: Loopback): Promise<void> {
    for (const id of ['first witness', 'second witness']) {
      const { closed } = await join(pool, loopback, id, SILENT);
      expect(await closed).toEqual([1006, '']);
    }
  }

  test('a client that answers pings stays connected, and its roundTripTime is known', async () => {
    const loopback = await Loopback.start();
    const pool = newPool();
    const { connection } = await join(pool, loopback, '1');
    expect(connection.roundTripTime).toBeUndefined();
    const pong = once(connection, 'pong');
    await witnessesDie(pool, loopback);
    await pong;
    expect(connection.closed).toBe(false);
    expect(connection.roundTripTime).toBeGreaterThan(0);
    expect(connection.roundTripTime).toBeLessThan(INTERVAL_MS);
    expect(pool.stats()).toMatchObject({ connections: 1, heartbeatsLost: 2, terminated: 2, errors: 0 });
    expect(pool.stats().pings).toBeGreaterThanOrEqual(3);
  });

  test('a peer that upgrades and never answers is terminated and reported as 1006', async () => {
    const loopback = await Loopback.start();
    const pool = newPool();
    const { client, socket } = await connectMute(loopback);
    const gone = once(client, 'close');
    const connection = new Connection('mute', 'default', socket);
    const [closed, left] = [once(connection, 'close'), once(pool, 'disconnection')];
    await pool.newConnection(connection);
    expect(await closed).toEqual([1006, '']);
    expect(await left).toEqual([connection, 1006, '']);
    await gone;
    expect(connection.roundTripTime).toBeUndefined();
    expect(pool.stats()).toMatchObject({ connections: 0, namespaces: 0, heartbeatsLost: 1, pings: 1 });
  });

  test('a client that has stopped reading is terminated', async () => {
    const loopback = await Loopback.start();
    const pool = newPool();
    const { client, closed } = await join(pool, loopback, 'paused');
    client.socket.pause();
    expect(await closed).toEqual([1006, '']);
    client.socket.resume();
    expect((await client.closed).code).toBe(1006);
  });

  test.each<[string, (socket: WebSocket) => void]>([
    ['messages', (socket) => socket.send('alive')],
    ['pings', (socket) => socket.ping()],
    ['unsolicited pongs', (socket) => socket.pong()],
  ])('%s of a client that answers no ping keep it alive', async (_, act) => {
    const loopback = await Loopback.start();
    const pool = newPool();
    const { client, connection, closed } = await join(pool, loopback, 'talker', SILENT);
    const timer = setInterval(() => act(client.socket), 20);
    onTestFinished(() => clearInterval(timer));
    await witnessesDie(pool, loopback);
    expect(connection.closed).toBe(false);
    clearInterval(timer);
    // Nothing else kept the connection alive.
    expect(await closed).toEqual([1006, '']);
  });

  test('sending to a client does not keep it alive for the heartbeat', async () => {
    const loopback = await Loopback.start();
    const pool = newPool();
    const { connection, closed } = await join(pool, loopback, 'listener', SILENT);
    const timer = setInterval(() => {
      void connection.send('private');
      void pool.broadcastMessage('default', 'to all');
    }, 10);
    onTestFinished(() => clearInterval(timer));
    expect(await closed).toEqual([1006, '']);
  });

  test('a close to a dead peer resolves after the grace period, and the heartbeat does not count it', async () => {
    const loopback = await Loopback.start();
    const pool = new ConnectionsPool({
      closeTimeout: 300,
      heartbeat: { interval: INTERVAL_MS, timeout: TIMEOUT_MS },
    });
    const { socket } = await connectMute(loopback);
    const connection = new Connection('mute', 'default', socket);
    await pool.newConnection(connection);
    await connection.close();
    expect(pool.stats()).toMatchObject({ connections: 0, terminated: 1, heartbeatsLost: 0 });
  });
});
