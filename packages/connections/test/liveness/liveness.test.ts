import { describe, expect, test, vi } from 'vitest';
import { ConnectionsPool } from '../../src/index.js';
import { useFakeClock } from '../support/fake-clock.js';
import { MemorySocket } from '../support/memory-socket.js';
import {
  INTERVAL_MS,
  join,
  joinMany,
  newPool,
  PingSocket,
  terminateAfterEach,
} from '../support/ping-sockets.js';

describe('the heartbeat of a pool', () => {
  useFakeClock();
  terminateAfterEach();

  // They are neighbours in memory too, so pinging them together is cheaper.
  test('connections that joined one after the other are pinged together, thirty-two at a time', async () => {
    const sockets = joinMany(newPool(), 160);
    await vi.advanceTimersByTimeAsync(INTERVAL_MS + 200);
    const firstMs = sockets.map(({ pingedAtMs }) => pingedAtMs[0]!);
    const changes = firstMs.flatMap((atMs, index) =>
      index > 0 && atMs !== firstMs[index - 1] ? [index] : [],
    );
    // The position of the first one in its group depends on how many have joined before it.
    expect(changes[0]).toBeLessThanOrEqual(32);
    expect(changes.slice(1).map((index, nth) => index - changes[nth]!)).toEqual(
      Array.from({ length: changes.length - 1 }, () => 32),
    );
    expect(changes.length).toBeGreaterThanOrEqual(4);
  });

  test('hundreds of heartbeats share one timer', async () => {
    joinMany(newPool(), 200);
    await vi.advanceTimersByTimeAsync(INTERVAL_MS);
    // And the turn of the loop after its tick.
    expect(vi.getTimerCount()).toBeLessThanOrEqual(2);
  });

  test('`heartbeat: true` means a ping every 30 s with 10 s to answer', async () => {
    const pool = newPool({ heartbeat: true });
    const alive = join(pool, new PingSocket(), 'alive');
    const silent = join(pool, new PingSocket(), 'silent');
    silent.answersPings = false;
    await vi.advanceTimersByTimeAsync(120_000);
    expect(alive.pingedAtMs[1]! - alive.pingedAtMs[0]!).toBeGreaterThanOrEqual(29_800);
    expect(alive.pingedAtMs[1]! - alive.pingedAtMs[0]!).toBeLessThanOrEqual(30_200);
    expect(silent.pingedAtMs).toHaveLength(1);
  });

  test('a heartbeat without a timeout allows at most the interval for an answer', async () => {
    const pool = newPool({ heartbeat: { interval: 2_000 } });
    const socket = join(pool, new PingSocket());
    socket.answersPings = false;
    await vi.advanceTimersByTimeAsync(4_300);
    expect(socket.readyState).toBe(3);
  });

  test('a silent peer is terminated when its timeout has passed, and not before', async () => {
    const pool = newPool();
    const socket = new PingSocket();
    socket.answersPings = false;
    let endedAtMs = 0;
    socket.on('close', () => (endedAtMs = performance.now()));
    join(pool, socket);
    await vi.advanceTimersByTimeAsync(2 * INTERVAL_MS);
    expect(endedAtMs - socket.pingedAtMs[0]!).toBeGreaterThanOrEqual(5_000);
    expect(endedAtMs - socket.pingedAtMs[0]!).toBeLessThanOrEqual(5_200);
  });

  // In a turn of the event loop, timers run first: a peer whose answer had arrived during a stall was taken for silent.
  test('an answer that arrives in the turn in which the timeout passes still counts', async () => {
    const pool = newPool();
    const socket = join(pool, new PingSocket());
    socket.answersPings = false;
    const behindPoll = globalThis.setImmediate;
    const immediate = vi.spyOn(globalThis, 'setImmediate');
    // What is read in a turn is read after its timers and before its immediates.
    immediate.mockImplementation((callback: () => void) => {
      if (socket.pingedAtMs.length > 0) socket.emit('pong');
      return behindPoll(callback);
    });
    await vi.advanceTimersByTimeAsync(3 * INTERVAL_MS);
    expect(socket.readyState).toBe(1);
    expect(socket.pingedAtMs.length).toBeGreaterThanOrEqual(3);
    expect(pool.stats().heartbeatsLost).toBe(0);
  });

  test('an idle limit keeps its own time next to a heartbeat', async () => {
    const pool = newPool({ idleTimeout: 3_000 });
    const socket = join(pool, new PingSocket());
    // Its pongs come every ten seconds, which is too seldom for the limit.
    await vi.advanceTimersByTimeAsync(3_500);
    expect(socket.closes).toEqual([{ code: 4408, reason: 'Idle timeout' }]);
    expect(pool.stats()).toMatchObject({ idleTimeouts: 1, heartbeatsLost: 0 });
  });

  test('a socket that cannot ping only has its idle limit, and its capabilities say so', async () => {
    const pool = newPool({ idleTimeout: 60_000 });
    const socket = join(pool, new MemorySocket());
    const connection = pool.getConnection('default', '1')!;
    expect(connection.capabilities.ping).toBe(false);
    await vi.advanceTimersByTimeAsync(59_000);
    expect(connection.closed).toBe(false);
    expect(connection.roundTripTime).toBeUndefined();
    expect(pool.stats()).toMatchObject({ pings: 0, heartbeatsLost: 0 });
    await vi.advanceTimersByTimeAsync(1_300);
    expect(socket.closes).toEqual([{ code: 4408, reason: 'Idle timeout' }]);
  });

  test('a pool without the heartbeat option pings nobody', async () => {
    const pool = new ConnectionsPool();
    const socket = join(pool, new PingSocket());
    await vi.advanceTimersByTimeAsync(120_000);
    expect(socket.pingedAtMs).toEqual([]);
  });

  test('a connection that is removed from its pool is not pinged any more', async () => {
    const pool = newPool();
    const socket = join(pool, new PingSocket());
    await pool.removeConnection(pool.getConnection('default', '1')!);
    await vi.advanceTimersByTimeAsync(3 * INTERVAL_MS);
    expect(socket.pingedAtMs).toEqual([]);
    expect(socket.readyState).toBe(1);
  });

  test('a connection that is closing is not pinged any more', async () => {
    const pool = newPool({ closeTimeout: 3 * INTERVAL_MS });
    const socket = join(pool, new PingSocket(false));
    void pool.getConnection('default', '1')!.close();
    await vi.advanceTimersByTimeAsync(2 * INTERVAL_MS);
    expect(socket.pingedAtMs).toEqual([]);
  });

  test('a peer that has begun to close is not pinged any more', async () => {
    const pool = newPool();
    const socket = join(pool, new PingSocket());
    socket.readyState = 2;
    await vi.advanceTimersByTimeAsync(2 * INTERVAL_MS);
    expect(socket.pingedAtMs).toEqual([]);
    expect(pool.stats()).toMatchObject({ pings: 0, heartbeatsLost: 0 });
  });

  test('a heartbeat that would be due earlier does not shorten a close that waits for its answer', async () => {
    const pool = newPool({ closeTimeout: 2 * INTERVAL_MS });
    const socket = join(pool, new PingSocket(false));
    const connection = pool.getConnection('default', '1')!;
    const codes: number[] = [];
    connection.on('close', (code) => codes.push(code));
    void connection.close(4000);
    await vi.advanceTimersByTimeAsync(2 * INTERVAL_MS - 1);
    expect([socket.readyState, codes]).toEqual([2, []]);
    await vi.advanceTimersByTimeAsync(201);
    expect([socket.readyState, codes]).toEqual([3, [1006]]);
  });

  test('a ping that throws is an error event, and the peer still gets its time to answer', async () => {
    const pool = newPool();
    const errors: unknown[] = [];
    pool.on('error', (error) => errors.push(error.message));
    const socket = new PingSocket();
    socket.ping = () => {
      throw new Error('no ping');
    };
    join(pool, socket);
    while (errors.length === 0) await vi.advanceTimersByTimeAsync(100);
    expect(errors).toEqual(['no ping']);
    await vi.advanceTimersByTimeAsync(4_900);
    expect(socket.readyState).toBe(1);
    await vi.advanceTimersByTimeAsync(300);
    expect(socket.readyState).toBe(3);
    expect(errors).toEqual(['no ping']);
  });

  test('roundTripTime is that of the last ping that was answered', async () => {
    const pool = newPool();
    const socket = join(pool, new PingSocket());
    socket.answersPings = false;
    const connection = pool.getConnection('default', '1')!;
    const answerAfter = async (ms: number): Promise<void> => {
      const pings = socket.pingedAtMs.length;
      while (socket.pingedAtMs.length === pings) vi.advanceTimersToNextTimer();
      await vi.advanceTimersByTimeAsync(ms);
      socket.emit('pong');
    };
    await answerAfter(70);
    expect(connection.roundTripTime).toBeCloseTo(70, 0);
    // An unsolicited pong measures nothing.
    await vi.advanceTimersByTimeAsync(1_000);
    socket.emit('pong');
    expect(connection.roundTripTime).toBeCloseTo(70, 0);
    await answerAfter(250);
    expect(connection.roundTripTime).toBeCloseTo(250, 0);
  });
});
