import { once } from 'node:events';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { Connection, ConnectionsPool, type ConnectionsPoolOptions, type PoolStats } from '../src/index.js';
import { Heartbeat, nextMoment } from '../src/heartbeat.js';
import { useFakeClock } from './support/fake-clock.js';
import { Client, Loopback } from './support/loopback.js';
import { MemorySocket } from './support/memory-socket.js';
import { onTestFinished } from './support/on-test-finished.js';
import { Program } from './support/program.js';
import { connectMute } from './support/raw-client.js';
import { hasSignals } from './support/requires.js';

describe('one heartbeat', () => {
  const INTERVAL_MS = 1_000;
  const TIMEOUT_MS = 400;
  const START_MS = 5_000;
  const newHeartbeat = (moment = 0): Heartbeat => new Heartbeat(INTERVAL_MS, TIMEOUT_MS, START_MS, moment);

  test.each([0, 7, 29])('pings first at moment %d of the thirty, and not before', (moment) => {
    const heartbeat = newHeartbeat(moment);
    const firstMs = START_MS + (moment * INTERVAL_MS) / 30;
    expect(heartbeat.dueAtMs).toBeCloseTo(firstMs, 6);
    expect(heartbeat.beat(firstMs - 1, START_MS)).toBe('wait');
    expect(heartbeat.beat(firstMs, START_MS)).toBe('ping');
  });

  test('goes out at its moment of an interval, whenever it has begun', () => {
    for (let step = 0; step < 1_000; step++) {
      const startMs = START_MS + step * 7.3;
      const heartbeat = new Heartbeat(INTERVAL_MS, TIMEOUT_MS, startMs, step % 30);
      const firstMs = heartbeat.dueAtMs;
      expect(firstMs).toBeGreaterThanOrEqual(startMs);
      expect(firstMs).toBeLessThan(startMs + INTERVAL_MS);
      expect(heartbeat.beat(firstMs, 0)).toBe('ping');
      expect(heartbeat.beat(firstMs + 1, firstMs + 1)).toBe('wait');
      const moment = (heartbeat.dueAtMs * 30) / INTERVAL_MS;
      expect(moment).toBeCloseTo(Math.round(moment), 6);
      expect(Math.round(moment) % 30).toBe(step % 30);
    }
  });

  // The moment was reckoned from when they had joined, in steps: at some paces the two rhythms met, and a moment had
  // five times its share while others had none.
  test.each([2.79, 21.9, 152, 1_000])(
    'those who come %d a second have every moment as often',
    (perSecond) => {
      const counts = Array.from({ length: 30 }, () => 0);
      for (let index = 0; index < 9_600; index++) {
        const heartbeat = new Heartbeat(30_000, 10_000, (index * 1_000) / perSecond, nextMoment());
        counts[Math.round(heartbeat.dueAtMs / 1_000) % 30]!++;
      }
      // 320 on average, in groups of 32.
      expect(Math.min(...counts)).toBeGreaterThanOrEqual(288);
      expect(Math.max(...counts)).toBeLessThanOrEqual(352);
    },
  );

  test('pings again an interval after an answered ping', () => {
    const heartbeat = newHeartbeat();
    heartbeat.beat(START_MS, 0);
    expect(heartbeat.dueAtMs).toBe(START_MS + TIMEOUT_MS);
    expect(heartbeat.beat(START_MS + TIMEOUT_MS, START_MS + 10)).toBe('wait');
    expect(heartbeat.dueAtMs).toBe(START_MS + INTERVAL_MS);
    expect(heartbeat.beat(START_MS + INTERVAL_MS - 1, START_MS + 10)).toBe('wait');
    expect(heartbeat.beat(START_MS + INTERVAL_MS, START_MS + 10)).toBe('ping');
  });

  test('is dead when nothing has come for the timeout, and not before', () => {
    const heartbeat = newHeartbeat();
    heartbeat.beat(START_MS, START_MS - 1);
    expect(heartbeat.beat(START_MS + TIMEOUT_MS - 1, START_MS - 1)).toBe('wait');
    expect(heartbeat.beat(START_MS + TIMEOUT_MS, START_MS - 1)).toBe('dead');
  });

  // A ping that went out late is still unanswered when the next one would be due: another would only make it wait
  // longer for the verdict.
  test('does not ping again while an answer is awaited', () => {
    const heartbeat = new Heartbeat(INTERVAL_MS, INTERVAL_MS, START_MS, 0);
    const pingedMs = START_MS + 150;
    expect(heartbeat.beat(pingedMs, 0)).toBe('ping');
    expect(heartbeat.beat(START_MS + INTERVAL_MS, 0)).toBe('wait');
    expect(heartbeat.dueAtMs).toBe(pingedMs + INTERVAL_MS);
    expect(heartbeat.beat(pingedMs + INTERVAL_MS, 0)).toBe('dead');
  });

  test('gets no more time when it is looked at as late as the wheel may be', () => {
    const heartbeat = newHeartbeat();
    heartbeat.beat(START_MS, START_MS - 1);
    expect(heartbeat.beat(START_MS + TIMEOUT_MS + 200, START_MS - 1)).toBe('dead');
  });

  // Behind a stall of the event loop, timers run before anything is read: the answer may be there, unread.
  test('gets a little more time, once, when it is looked at much too late', () => {
    const heartbeat = newHeartbeat();
    heartbeat.beat(START_MS, START_MS - 1);
    const lateMs = START_MS + TIMEOUT_MS + 201;
    expect(heartbeat.beat(lateMs, START_MS - 1)).toBe('wait');
    expect(heartbeat.dueAtMs).toBe(lateMs + 200);
    expect(heartbeat.beat(lateMs + 199, START_MS - 1)).toBe('wait');
    expect(heartbeat.beat(lateMs + 1_000, START_MS - 1)).toBe('dead');
  });

  test('is alive when the answer is seen late', () => {
    const heartbeat = newHeartbeat();
    heartbeat.beat(START_MS, 0);
    expect(heartbeat.beat(START_MS + 100 * TIMEOUT_MS, START_MS + 99 * TIMEOUT_MS)).not.toBe('dead');
  });

  test('with a timeout as long as the interval pings on as soon as the last one was answered', () => {
    const heartbeat = new Heartbeat(INTERVAL_MS, INTERVAL_MS, START_MS, 0);
    for (let atMs = START_MS; atMs < START_MS + 10 * INTERVAL_MS; atMs += INTERVAL_MS) {
      expect(heartbeat.dueAtMs).toBe(atMs);
      expect(heartbeat.beat(atMs, atMs - 1)).toBe('ping');
      expect(heartbeat.beat(atMs + 1, atMs + 1)).toBe('wait');
    }
  });

  test('does not make up for the pings of an interval that was slept through', () => {
    const heartbeat = newHeartbeat();
    heartbeat.beat(START_MS, 0);
    const wokenMs = START_MS + 100.5 * INTERVAL_MS;
    expect(heartbeat.beat(wokenMs, START_MS + 10)).toBe('ping');
    expect(heartbeat.beat(wokenMs, wokenMs)).toBe('wait');
    expect(heartbeat.dueAtMs).toBeGreaterThan(wokenMs);
  });
});

/** Answers pings, where it is told to, and keeps when they came. */
class PingSocket extends MemorySocket {
  readonly pingedAtMs: number[] = [];
  answersPings = true;

  ping(): void {
    this.pingedAtMs.push(performance.now());
    if (this.answersPings) queueMicrotask(() => this.emit('pong'));
  }
}

describe('by a fake clock', () => {
  useFakeClock();
  const INTERVAL_MS = 10_000;
  const SOCKETS = 1_000;
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

  /** Pings in each slot of 100 ms of that time. */
  function pingsPerSlot(sockets: readonly PingSocket[], fromMs: number, toMs: number): number[] {
    const slots = Array.from({ length: Math.ceil((toMs - fromMs) / 100) }, () => 0);
    for (const atMs of sockets.flatMap(({ pingedAtMs }) => pingedAtMs)) {
      if (atMs >= fromMs && atMs < toMs) slots[Math.floor((atMs - fromMs) / 100)]!++;
    }
    return slots;
  }

  /** The most pings of a slot in the next two intervals. */
  async function burstOf(sockets: readonly PingSocket[]): Promise<number> {
    const fromMs = performance.now();
    await vi.advanceTimersByTimeAsync(2 * INTERVAL_MS);
    return Math.max(...pingsPerSlot(sockets, fromMs, performance.now()));
  }

  /** Of the thirty moments of an interval. */
  const FAIR_SHARE = SOCKETS / 30;

  test('pings of those who join at once are spread over the interval, and one comes in each', async () => {
    const pool = newPool();
    const sockets = joinMany(pool);
    await vi.advanceTimersByTimeAsync(INTERVAL_MS + 200);
    for (const { pingedAtMs } of sockets) expect(pingedAtMs.length).toBeGreaterThanOrEqual(1);
    expect(await burstOf(sockets)).toBeLessThanOrEqual(2 * FAIR_SHARE);

    await vi.advanceTimersByTimeAsync(7 * INTERVAL_MS);
    for (const { pingedAtMs } of sockets) {
      const gaps = pingedAtMs.slice(1).map((atMs, index) => atMs - pingedAtMs[index]!);
      expect(Math.min(...gaps)).toBeGreaterThanOrEqual(INTERVAL_MS - 200);
      expect(Math.max(...gaps)).toBeLessThanOrEqual(INTERVAL_MS + 200);
    }
    expect(pool.stats().pings).toBe(sockets.reduce((sum, { pingedAtMs }) => sum + pingedAtMs.length, 0));
    expect(pool.stats().heartbeatsLost).toBe(0);
  });

  // They lie beside each other in memory too: pinged together, they cost less.
  test('those who joined behind each other are pinged together, thirty-two at a time', async () => {
    const sockets = joinMany(newPool(), 160);
    await vi.advanceTimersByTimeAsync(INTERVAL_MS + 200);
    const firstMs = sockets.map(({ pingedAtMs }) => pingedAtMs[0]!);
    const changes = firstMs.flatMap((atMs, index) =>
      index > 0 && atMs !== firstMs[index - 1] ? [index] : [],
    );
    // Where in its group the first of them is depends on how many have joined before.
    expect(changes[0]).toBeLessThanOrEqual(32);
    expect(changes.slice(1).map((index, nth) => index - changes[nth]!)).toEqual(
      Array.from({ length: changes.length - 1 }, () => 32),
    );
    expect(changes.length).toBeGreaterThanOrEqual(4);
  });

  test('those of many small pools are spread as those of a large one', async () => {
    const sockets = Array.from({ length: SOCKETS / 10 }, () => joinMany(newPool(), 10)).flat();
    await vi.advanceTimersByTimeAsync(INTERVAL_MS);
    expect(await burstOf(sockets)).toBeLessThanOrEqual(2 * FAIR_SHARE);
  });

  test('they stay spread when some leave and others join', async () => {
    const pool = newPool();
    const early = joinMany(pool);
    await vi.advanceTimersByTimeAsync(1.5 * INTERVAL_MS);
    for (const socket of early.slice(0, SOCKETS / 2)) socket.end();
    const late = joinMany(pool, SOCKETS / 2, SOCKETS);
    await vi.advanceTimersByTimeAsync(INTERVAL_MS);
    expect(await burstOf([...early, ...late])).toBeLessThanOrEqual(3 * FAIR_SHARE);
  });

  // The next ping was reckoned from when the last one went out. A stall of the event loop put the pings of all the
  // slots that it covered into one, and there they stayed: after some hours of ordinary pauses all were in a few.
  test('they stay spread behind stalls of the event loop', async () => {
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

  test('the heartbeats of a thousand connections share one timer', async () => {
    joinMany(newPool());
    await vi.advanceTimersByTimeAsync(INTERVAL_MS);
    // And the turn of the loop behind its tick.
    expect(vi.getTimerCount()).toBeLessThanOrEqual(2);
  });

  test('`true` means every 30 s with 10 s to answer', async () => {
    const pool = newPool({ heartbeat: true });
    const alive = join(pool, new PingSocket(), 'alive');
    const silent = join(pool, new PingSocket(), 'silent');
    silent.answersPings = false;
    await vi.advanceTimersByTimeAsync(120_000);
    expect(alive.pingedAtMs[1]! - alive.pingedAtMs[0]!).toBeGreaterThanOrEqual(29_800);
    expect(alive.pingedAtMs[1]! - alive.pingedAtMs[0]!).toBeLessThanOrEqual(30_200);
    expect(silent.pingedAtMs).toHaveLength(1);
  });

  test('the timeout alone may be left out, and is then no longer than the interval', async () => {
    const pool = newPool({ heartbeat: { interval: 2_000 } });
    const socket = join(pool, new PingSocket());
    socket.answersPings = false;
    await vi.advanceTimersByTimeAsync(4_300);
    expect(socket.readyState).toBe(3);
  });

  test('a silent peer is terminated when its timeout has passed, not before', async () => {
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

  // Timers come first in a turn of the loop: a peer whose answer had come during a stall was taken for silent.
  test('an answer that is read in the very turn in which its time is up counts', async () => {
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

  test('an idle limit beside the heartbeat keeps its own time', async () => {
    const pool = newPool({ idleTimeout: 3_000 });
    const socket = join(pool, new PingSocket());
    // Its pongs come once in ten seconds, which is too seldom for the limit.
    await vi.advanceTimersByTimeAsync(3_500);
    expect(socket.closes).toEqual([{ code: 4408, reason: 'Idle timeout' }]);
    expect(pool.stats()).toMatchObject({ idleTimeouts: 1, heartbeatsLost: 0 });
  });

  test('sockets that cannot ping are left to their idle limit, and capabilities say so', async () => {
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

  test('without the option nothing is pinged', async () => {
    const pool = new ConnectionsPool();
    const socket = join(pool, new PingSocket());
    await vi.advanceTimersByTimeAsync(120_000);
    expect(socket.pingedAtMs).toEqual([]);
  });

  test('a connection that is taken out of its pool is not pinged any more', async () => {
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

  test('a close that waits for its answer is not cut short where a heartbeat would have come before', async () => {
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

  test('a ping that throws is an error event, and the peer is given its time all the same', async () => {
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

  test('the round-trip time is that of the last ping that was answered', async () => {
    const pool = newPool();
    const socket = join(pool, new PingSocket());
    socket.answersPings = false;
    const connection = pool.getConnection('default', '1')!;
    const answerAfter = async (ms: number): Promise<void> => {
      const pings = socket.pingedAtMs.length;
      while (socket.pingedAtMs.length === pings) await vi.advanceTimersByTimeAsync(1);
      await vi.advanceTimersByTimeAsync(ms);
      socket.emit('pong');
    };
    await answerAfter(70);
    expect(connection.roundTripTime).toBeCloseTo(70, 0);
    // A pong that nobody asked for measures nothing.
    await vi.advanceTimersByTimeAsync(1_000);
    socket.emit('pong');
    expect(connection.roundTripTime).toBeCloseTo(70, 0);
    await answerAfter(250);
    expect(connection.roundTripTime).toBeCloseTo(250, 0);
  });

  test('a clock that jumps by an hour kills nobody and pings nobody twice', async () => {
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
      expect(socket.pingedAtMs.length).toBeLessThanOrEqual(1);
      socket.answersPings = true;
      socket.emit('pong');
    }
    expect(await burstOf(sockets)).toBeLessThanOrEqual(2 * FAIR_SHARE);
    expect(pool.stats()).toMatchObject({ connections: SOCKETS, heartbeatsLost: 0 });
  });
});

// These wait for time to pass, which they may do beside each other.
describe.concurrent('on real sockets', () => {
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

  /** Resolves when two peers that stay silent, one after the other, are dead: others had time enough to die too. */
  async function witnessesDie(pool: ConnectionsPool, loopback: Loopback): Promise<void> {
    for (const id of ['first witness', 'second witness']) {
      const { closed } = await join(pool, loopback, id, SILENT);
      expect(await closed).toEqual([1006, '']);
    }
  }

  test('a client that answers lives on, and its round-trip time is known', async () => {
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

  test('a peer that upgrades and never answers is terminated, and reported as 1006', async () => {
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
    ['pongs that nobody asked for', (socket) => socket.pong()],
  ])('%s of a client that answers no ping count as life', async (_, act) => {
    const loopback = await Loopback.start();
    const pool = newPool();
    const { client, connection, closed } = await join(pool, loopback, 'talker', SILENT);
    const timer = setInterval(() => act(client.socket), 20);
    onTestFinished(() => clearInterval(timer));
    await witnessesDie(pool, loopback);
    expect(connection.closed).toBe(false);
    clearInterval(timer);
    // And is the only thing that kept it.
    expect(await closed).toEqual([1006, '']);
  });

  test('what the server sends does not count as life', async () => {
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

  test('a close that the dead peer keeps waiting resolves when the heartbeat has ended it', async () => {
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

describe.concurrent('in a process of its own', () => {
  interface State {
    readonly stats: PoolStats;
    readonly codes: readonly number[];
  }

  async function start(clients: number, intervalMs: number, timeoutMs: number) {
    const program = new Program('heartbeat-server', String(intervalMs), String(timeoutMs));
    const port = (await program.message()) as number;
    const connected = Array.from({ length: clients }, async () => {
      const client = new Client(new WebSocket(`ws://127.0.0.1:${port}`));
      onTestFinished(() => client.socket.terminate());
      await once(client.socket, 'open');
      return client;
    });
    return { program, clients: await Promise.all(connected) };
  }

  const stateOf = async (program: Program): Promise<State> => (await program.ask({})) as State;

  /** Once everyone has been pinged twice more: who was wrongly held for dead has gone by then. */
  async function expectAllAlive(program: Program, clients: readonly Client[]): Promise<void> {
    const { stats } = await stateOf(program);
    const enough = stats.pings + 2 * clients.length;
    await vi.waitFor(
      async () => {
        const { stats, codes } = await stateOf(program);
        expect(codes).toEqual([]);
        expect(stats.pings).toBeGreaterThanOrEqual(enough);
      },
      { timeout: 15_000, interval: 50 },
    );
    const { stats: after } = await stateOf(program);
    expect(after).toMatchObject({ connections: clients.length, heartbeatsLost: 0 });
  }

  test.each([600, 1_500])(
    'a stall of the event loop for %i ms kills nobody who answered',
    { timeout: 20_000 },
    async (stallMs) => {
      const { program, clients } = await start(20, 300, 200);
      for (let stall = 0; stall < 2; stall++) {
        expect(await program.ask({ stallMs })).toBe('stalled');
      }
      await expectAllAlive(program, clients);
    },
  );

  // As when the lid of a laptop closes: the answers come only when everything is awake again.
  test.skipIf(!hasSignals)(
    'a process that was suspended for longer than the timeout kills nobody when it wakes',
    { timeout: 30_000 },
    async () => {
      const { program, clients } = await start(10, 1_000, 1_000);
      for (const { socket } of clients) socket.pause();
      expect(await program.ask({ tellPing: true })).toBe('pinged');
      program.process.kill('SIGSTOP');
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      program.process.kill('SIGCONT');
      for (const { socket } of clients) socket.resume();
      await expectAllAlive(program, clients);
    },
  );

  test('a peer that is dead for real is still found after a stall', { timeout: 20_000 }, async () => {
    const { program, clients } = await start(2, 400, 200);
    await program.ask({ stallMs: 1_500 });
    clients[0]!.socket.pause();
    await vi.waitFor(async () => expect((await stateOf(program)).codes).toEqual([1006]), { timeout: 10_000 });
    expect((await stateOf(program)).stats).toMatchObject({ connections: 1, heartbeatsLost: 1 });
  });
});
