import assert from 'node:assert/strict';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool, type ConnectionsPoolOptions } from '../../src/index.js';
import { useFakeClock } from '../support/fake-clock.js';
import { MemorySocket } from '../support/memory-socket.js';
import { runs } from '../support/runs.js';

/** Answers pings unless told otherwise, and records when they came. */
class PingSocket extends MemorySocket {
  readonly pingedAtMs: number[] = [];
  answersPings = true;

  ping(): void {
    this.pingedAtMs.push(performance.now());
    if (this.answersPings) queueMicrotask(() => this.emit('pong'));
  }
}

describe('the heartbeat of a pool', () => {
  useFakeClock();
  const INTERVAL_MS = 10_000;
  const SOCKETS = runs({ quick: 480, ci: 1_000 });
  const connections: Connection[] = [];
  afterEach(() => {
    for (const connection of connections.splice(0)) connection.terminate();
  });

  function newPool(options: ConnectionsPoolOptions<Connection> = {}): ConnectionsPool {
    return new ConnectionsPool({ heartbeat: { interval: INTERVAL_MS, timeout: 5_000 }, ...options });
  }

  function join<S extends MemorySocket>(pool: ConnectionsPool, socket: S, id = '1'): S {
    const connection = new Connection(id, 'default', socket);
    connections.push(connection);
    void pool.newConnection(connection);
    return socket;
  }

  function joinMany(pool: ConnectionsPool, count = SOCKETS, from = 0): PingSocket[] {
    return Array.from({ length: count }, (_, index) => join(pool, new PingSocket(), String(from + index)));
  }

  /** How many pings fell into each slot of 100 ms in that time. */
  function pingsPerSlot(sockets: readonly PingSocket[], fromMs: number, toMs: number): number[] {
    const slots = Array.from({ length: Math.ceil((toMs - fromMs) / 100) }, () => 0);
    for (const atMs of sockets.flatMap(({ pingedAtMs }) => pingedAtMs)) {
      if (atMs >= fromMs && atMs < toMs) slots[Math.floor((atMs - fromMs) / 100)]!++;
    }
    return slots;
  }

  /** The largest number of pings in a slot during the next two intervals. */
  async function burstOf(sockets: readonly PingSocket[]): Promise<number> {
    const fromMs = performance.now();
    await vi.advanceTimersByTimeAsync(2 * INTERVAL_MS);
    return Math.max(...pingsPerSlot(sockets, fromMs, performance.now()));
  }

  /** Of the thirty moments of an interval. */
  const FAIR_SHARE = SOCKETS / 30;

  test('connections that join at once are pinged once per interval each, spread over the interval', async () => {
    const pool = newPool();
    const sockets = joinMany(pool);
    await vi.advanceTimersByTimeAsync(INTERVAL_MS + 200);
    for (const { pingedAtMs } of sockets) assert(pingedAtMs.length >= 1);
    expect(await burstOf(sockets)).toBeLessThanOrEqual(2 * FAIR_SHARE);

    await vi.advanceTimersByTimeAsync(3 * INTERVAL_MS);
    for (const { pingedAtMs } of sockets) {
      const gaps = pingedAtMs.slice(1).map((atMs, index) => atMs - pingedAtMs[index]!);
      assert(Math.min(...gaps) >= INTERVAL_MS - 200);
      assert(Math.max(...gaps) <= INTERVAL_MS + 200);
    }
    expect(pool.stats().pings).toBe(sockets.reduce((sum, { pingedAtMs }) => sum + pingedAtMs.length, 0));
    expect(pool.stats().heartbeatsLost).toBe(0);
  });

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

  test('pings of many small pools are spread like those of a large one', async () => {
    const sockets = Array.from({ length: SOCKETS / 10 }, () => joinMany(newPool(), 10)).flat();
    await vi.advanceTimersByTimeAsync(INTERVAL_MS);
    expect(await burstOf(sockets)).toBeLessThanOrEqual(2 * FAIR_SHARE);
  });

  test('pings stay spread when some connections leave and others join', async () => {
    const pool = newPool();
    const early = joinMany(pool);
    await vi.advanceTimersByTimeAsync(1.5 * INTERVAL_MS);
    for (const socket of early.slice(0, SOCKETS / 2)) socket.end();
    const late = joinMany(pool, SOCKETS / 2, SOCKETS);
    await vi.advanceTimersByTimeAsync(INTERVAL_MS);
    expect(await burstOf([...early, ...late])).toBeLessThanOrEqual(3 * FAIR_SHARE);
  });

  // The next ping used to be counted from the last one. A stall of the event loop moved the pings of all the slots that
  // it covered into one, where they stayed: after some hours of ordinary pauses all of them were in a few slots.
  test('pings stay spread after stalls of the event loop', async () => {
    const pool = newPool();
    const sockets = joinMany(pool);
    await vi.advanceTimersByTimeAsync(INTERVAL_MS);
    const realNow = performance.now.bind(performance);
    let stalledMs = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => realNow() + stalledMs);
    for (let stall = 0; stall < 20; stall++) {
      await vi.advanceTimersByTimeAsync(1_700);
      stalledMs += 900;
    }
    await vi.advanceTimersByTimeAsync(INTERVAL_MS);
    expect(await burstOf(sockets)).toBeLessThanOrEqual(3 * FAIR_SHARE);
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

  test('a clock that jumps by an hour terminates nobody and pings nobody twice', async () => {
    const pool = newPool();
    const sockets = joinMany(pool);
    for (const socket of sockets) socket.answersPings = false;
    // A moment in which some have been pinged and have not answered yet.
    await vi.advanceTimersByTimeAsync(3_000);
    const realNow = performance.now.bind(performance);
    vi.spyOn(performance, 'now').mockImplementation(() => realNow() + 3_600_000);
    await vi.advanceTimersByTimeAsync(200);
    expect(pool.stats().connections).toBe(SOCKETS);
    for (const socket of sockets) {
      assert(socket.pingedAtMs.length <= 1);
      socket.answersPings = true;
      socket.emit('pong');
    }
    expect(await burstOf(sockets)).toBeLessThanOrEqual(2 * FAIR_SHARE);
    expect(pool.stats()).toMatchObject({ connections: SOCKETS, heartbeatsLost: 0 });
  });
});
