import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { createWebSocketStream, type WebSocket } from 'ws';
import { Connection, ConnectionsPool, type ConnectionsPoolOptions } from '../../src/index.js';
import { Loopback } from '../support/loopback.js';
import { onTestFinished } from '../support/on-test-finished.js';
import { connectMute } from '../support/raw-client.js';

const HEARTBEAT = { interval: 400, timeout: 300 };
/** Long enough for two verdicts of that heartbeat, in ms. */
const TWO_VERDICTS_MS = 1_600;

async function joinMute(options: ConnectionsPoolOptions<Connection>) {
  const { client, socket } = await connectMute(await Loopback.start());
  const pool = new ConnectionsPool(options);
  const connection = new Connection('1', 'default', socket);
  const closed = new Promise<[number, string]>((resolve) =>
    connection.on('close', (...args) => resolve(args)),
  );
  await pool.newConnection(connection);
  return { client, socket, pool, connection, closed };
}

/** The head of a binary frame of that many bytes, masked with zeros. */
function head(bytes: number): Buffer {
  const frame = Buffer.alloc(14);
  frame[0] = 0x82;
  frame[1] = 0xff;
  frame.writeBigUInt64BE(BigInt(bytes), 2);
  return frame;
}

// A client that uploaded one large frame was terminated after a single timeout, with a third of it received: within a
// frame it cannot even answer the ping (RFC 6455 §5.4).
describe.concurrent('a peer in the middle of a frame', () => {
  const PART = 20_000;
  const PARTS = 40;

  /** Sends one frame, a part every 50 ms. */
  async function upload(client: NodeJS.WritableStream): Promise<void> {
    client.write(head(PART * PARTS));
    for (let i = 0; i < PARTS; i++) {
      client.write(Buffer.alloc(PART));
      await delay(50);
    }
  }

  test('a peer that is uploading a large frame does not lose its heartbeat', async () => {
    const { client, pool, connection, closed } = await joinMute({ heartbeat: HEARTBEAT });
    const message = once(connection, 'message') as Promise<[Uint8Array]>;
    await Promise.race([upload(client), closed]);
    expect((await message)[0].length).toBe(PART * PARTS);
    expect(pool.stats().heartbeatsLost).toBe(0);
    // The client answers no ping, and sends nothing more.
    expect((await closed)[0]).toBe(1006);
  });

  test('a peer that is uploading a large frame does not reach its idle limit', async () => {
    const { client, pool, connection, closed } = await joinMute({ idleTimeout: 400, closeTimeout: 100 });
    const message = once(connection, 'message') as Promise<[Uint8Array]>;
    await Promise.race([upload(client), closed]);
    expect((await message)[0].length).toBe(PART * PARTS);
    expect(pool.stats().idleTimeouts).toBe(0);
    await closed;
    expect(pool.stats().idleTimeouts).toBe(1);
  });

  test('a peer that stops in the middle of a frame loses its heartbeat', async () => {
    const { client, pool, closed } = await joinMute({ heartbeat: HEARTBEAT });
    client.write(head(PART));
    client.write(Buffer.alloc(100));
    expect(await closed).toEqual([1006, '']);
    expect(pool.stats().heartbeatsLost).toBe(1);
  });
});

// If our side does not read, as with `createWebSocketStream` and a slow consumer, pongs are not read either, and the
// peer was terminated for that.
describe.concurrent('a socket that our side has paused', () => {
  async function joinPaused(pause: (socket: WebSocket) => void) {
    const { client, socket, connection } = await (await Loopback.start()).connect('1');
    const pool = new ConnectionsPool({ heartbeat: HEARTBEAT });
    await pool.newConnection(connection);
    pause(socket);
    return { client, socket, pool, connection };
  }

  test('a paused ws socket does not lose its heartbeat, and is pinged again when it reads', async () => {
    const { socket, pool, connection } = await joinPaused((paused) => paused.pause());
    await delay(TWO_VERDICTS_MS);
    expect([connection.closed, pool.stats().heartbeatsLost]).toEqual([false, 0]);
    const pong = once(connection, 'pong');
    socket.resume();
    await pong;
    await delay(HEARTBEAT.interval + HEARTBEAT.timeout);
    expect([connection.closed, pool.stats().heartbeatsLost]).toEqual([false, 0]);
  });

  test('a stream whose consumer is slow does not lose its heartbeat', async () => {
    const { client, socket, pool, connection } = await joinPaused((paused) => {
      const stream = createWebSocketStream(paused);
      onTestFinished(() => void stream.destroy());
      stream.on('error', () => undefined);
    });
    for (let i = 0; i < 50; i++) client.socket.send(Buffer.alloc(10_000));
    await expect.poll(() => socket.isPaused).toBe(true);
    await delay(TWO_VERDICTS_MS);
    expect([connection.closed, pool.stats().heartbeatsLost]).toEqual([false, 0]);
  });

  test('a socket that stays paused is given up after ten timeouts', { timeout: 20_000 }, async () => {
    const { pool, connection } = await joinPaused((paused) => paused.pause());
    const pausedAtMs = performance.now();
    await once(connection, 'close');
    expect(performance.now() - pausedAtMs).toBeGreaterThanOrEqual(10 * HEARTBEAT.timeout);
    expect(pool.stats().heartbeatsLost).toBe(1);
  });
});

// With both defaults, 16 MiB may be queued before a ping that has to be answered within 10 s: a client that steadily
// read 800 KB/s was terminated.
describe.concurrent('a peer with a backlog', () => {
  test('a peer that reads slowly but steadily does not lose its heartbeat', { timeout: 20_000 }, async () => {
    // The kernel takes bytes in steps of some megabytes, because the window of a slow reader rarely opens: the timeout
    // has to be longer than such a step.
    const heartbeat = { interval: 1_500, timeout: 1_500 };
    const { client, pool, connection, closed } = await joinMute({ heartbeat, maxBufferedBytes: 100_000_000 });
    client.pause();
    expect(await connection.send(new Uint8Array(60_000_000))).toBe(true);
    const timer = setInterval(() => {
      client.resume();
      client.once('data', () => client.pause());
    }, 10);
    onTestFinished(() => clearInterval(timer));
    await Promise.race([delay(5_000), closed]);
    expect([connection.closed, pool.stats().heartbeatsLost]).toEqual([false, 0]);
    expect(connection.bufferedAmount).toBeGreaterThan(0);
  });

  test('a peer that has stopped reading its backlog loses its heartbeat', { timeout: 20_000 }, async () => {
    const { client, pool, connection, closed } = await joinMute({ heartbeat: HEARTBEAT });
    client.pause();
    await connection.send(new Uint8Array(12_000_000));
    expect(await closed).toEqual([1006, '']);
    expect(pool.stats().heartbeatsLost).toBe(1);
  });
});

// The example in the README set both. The pongs to our own pings restarted the idle limit, so no connection was ever
// idle.
test('a silent client that answers the heartbeat reaches its idle limit all the same', async () => {
  const { client, connection } = await (await Loopback.start()).connect('1');
  const pool = new ConnectionsPool({ heartbeat: { interval: 200, timeout: 200 }, idleTimeout: 900 });
  await pool.newConnection(connection);
  let pongs = 0;
  connection.on('pong', () => pongs++);
  expect(await client.closed).toEqual({ code: 4408, reason: 'Idle timeout' });
  expect(pongs).toBeGreaterThanOrEqual(2);
  expect(pool.stats()).toMatchObject({ idleTimeouts: 1, heartbeatsLost: 0 });
});
