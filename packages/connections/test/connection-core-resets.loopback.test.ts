import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../src/index.js';
import { closesOf } from './support/closes-of.js';
import { Loopback } from './support/loopback.js';
import { connectMute } from './support/raw-client.js';
import { watchUnhandled } from './support/unhandled.js';

/** A short grace period, because the peers here never answer, in ms. */
const CLOSE_TIMEOUT_MS = 100;

describe('a network that fails', () => {
  /** Calls that a server makes without awaiting them. */
  function useUnawaited(pool: ConnectionsPool, connection: Connection): void {
    const { namespace, id } = connection;
    void connection.send('x');
    void connection.send(new Blob(['x']));
    void connection.sendJson({ x: 1 });
    void connection.sendError({ x: 1 });
    void pool.send(namespace, id, 'x');
    void pool.broadcastMessage(namespace, 'x');
    void pool.broadcastJsonMessage(namespace, { x: 1 });
    void pool.broadcastError(namespace, 'x');
  }

  function closeUnawaited(pool: ConnectionsPool, connection: Connection): void {
    const { namespace, id } = connection;
    void connection.sendThenClose('x');
    void connection.sendErrorThenClose('x');
    void pool.close(namespace, id);
    void pool.sendThenClose(namespace, id, 'x');
    void pool.broadcastError(namespace, 'x', 1011);
    void pool.closeAll(namespace);
    void connection.close();
  }

  /** Nobody listens for `error`: a socket error must not be thrown for that reason. */
  async function joinTwo() {
    const loopback = await Loopback.start();
    const pool = new ConnectionsPool({ closeTimeout: CLOSE_TIMEOUT_MS });
    const { client, socket } = await connectMute(loopback);
    const dying = new Connection('dying', 'default', socket);
    const alive = await loopback.connect('alive');
    await Promise.all([pool.newConnection(dying), pool.newConnection(alive.connection)]);
    return { pool, client, dying, alive };
  }

  // A client that disappeared between two sends used to end the process with an unhandled rejection.
  test('a reset during sends that nobody awaits causes no unhandled rejection', async () => {
    const unhandled = watchUnhandled();
    const { pool, client, dying, alive } = await joinTwo();
    const closed = once(dying, 'close') as Promise<[number, string]>;

    useUnawaited(pool, dying);
    client.resetAndDestroy();
    useUnawaited(pool, dying);
    await alive.client.roundTrip();
    useUnawaited(pool, dying);
    closeUnawaited(pool, dying);
    const [code] = await closed;
    useUnawaited(pool, dying);
    closeUnawaited(pool, dying);

    expect(code).toBe(1006);
    expect(await unhandled.settle()).toEqual([]);
    expect(pool.getConnection('default', 'dying')).toBeUndefined();
  });

  test('a reset while a close frame waits for its answer ends the close', async () => {
    const unhandled = watchUnhandled();
    const { pool, client, dying } = await joinTwo();
    const closes = closesOf(dying);
    closeUnawaited(pool, dying);
    client.resetAndDestroy();
    await dying.close();
    expect(closes).toEqual([[1006, '']]);
    expect(await unhandled.settle()).toEqual([]);
  });

  test('a reset of one client does not affect the others', async () => {
    const { pool, client, dying, alive } = await joinTwo();
    client.resetAndDestroy();
    await pool.broadcastMessage('default', 'before');
    await dying.close();
    const result = await pool.broadcastMessage('default', 'after');
    expect(result).toEqual({ recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 });
    expect(await alive.client.exactly(2)).toEqual(['before', 'after']);
  });
});
