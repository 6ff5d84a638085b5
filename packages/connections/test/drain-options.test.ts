import { getEventListeners } from 'node:events';
import { describe, expect, test, vi } from 'vitest';
import {
  Connection,
  ConnectionsPool,
  type DrainCounts,
  type DrainOptions,
  type DrainProgress,
  type DrainReport,
} from '../src/index.js';
import { noteClosing } from './support/closing-time.js';
import { useFakeClock } from './support/fake-clock.js';
import { Loopback } from './support/loopback.js';
import { MemorySocket } from './support/memory-socket.js';
import { Random } from './support/random.js';
import { connectMute } from './support/raw-client.js';

/** The most of these instants that lie within one second. */
function busiestSecond(instantsMs: readonly number[]): number {
  const sorted = instantsMs.toSorted((a, b) => a - b);
  let [busiest, oldest] = [0, 0];
  for (const [index, atMs] of sorted.entries()) {
    while (atMs - sorted[oldest]! >= 1_000) oldest++;
    busiest = Math.max(busiest, index - oldest + 1);
  }
  return busiest;
}

/** The most of these instants that are the same. */
function mostAtOnce(instantsMs: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const atMs of instantsMs) counts.set(atMs, (counts.get(atMs) ?? 0) + 1);
  return Math.max(...counts.values());
}

const totalOf = ({ closed, terminated, left }: DrainCounts): number => closed + terminated + left;

/** The counts of the namespaces add up to those of the whole, and those to the connections there were. */
function expectToAddUp(report: DrainReport, sizes: Record<string, number>): void {
  const expected = Object.values(sizes).reduce((sum, size) => sum + size, 0);
  expect(totalOf(report)).toBe(expected);
  expect(Object.fromEntries([...report.namespaces].map(([name, counts]) => [name, totalOf(counts)]))).toEqual(
    sizes,
  );
  for (const outcome of ['closed', 'terminated', 'left'] as const) {
    const sum = [...report.namespaces.values()].reduce((total, counts) => total + counts[outcome], 0);
    expect(sum).toBe(report[outcome]);
  }
}

/** Notes when it was asked to close and when it was terminated. */
class TimedSocket extends MemorySocket {
  closedAtMs: number | undefined;
  terminatedAtMs: number | undefined;

  override close(code?: number, reason?: string): void {
    this.closedAtMs = performance.now();
    super.close(code, reason);
  }

  override terminate(): void {
    this.terminatedAtMs ??= performance.now();
    super.terminate();
  }
}

/** Does not say that it is closed, not even when it is terminated: the connection gives it up after a second. */
class StuckSocket extends TimedSocket {
  constructor() {
    super(false);
  }

  override terminate(): void {
    this.terminatedAtMs ??= performance.now();
    this.readyState = 2;
  }
}

/** Is closed before `close` returns. */
class PromptSocket extends TimedSocket {
  override close(code?: number, reason?: string): void {
    super.close(code, reason);
    this.end(code, reason);
  }
}

describe('by a fake clock', () => {
  useFakeClock();

  function poolOf(count: number, { namespaces = 1, newSocket = (): TimedSocket => new TimedSocket() } = {}) {
    const pool = new ConnectionsPool();
    const sockets = Array.from({ length: count }, (_, index) => {
      const socket = newSocket();
      void pool.newConnection(new Connection(String(index), `n${index % namespaces}`, socket));
      return socket;
    });
    const closesMs = (): number[] => sockets.flatMap(({ closedAtMs }) => closedAtMs ?? []);
    return { pool, sockets, closesMs };
  }

  /** Runs the clock until the drain has ended; `undefined` when it has not within that time. */
  async function run(drained: Promise<DrainReport>, withinMs: number): Promise<DrainReport | undefined> {
    let report: DrainReport | undefined;
    void drained.then((result) => (report = result));
    for (let passedMs = 0; passedMs < withinMs && report === undefined; passedMs += 100) {
      await vi.advanceTimersByTimeAsync(100);
    }
    return report;
  }

  describe('maxPerSecond and interval', () => {
    test.each([
      [1, 100, 5],
      [1, 1_000, 4],
      [7, 100, 30],
      [7, 1_000, 30],
      [15, 100, 60],
      [15, 10, 60],
      [1_000, 100, 3_500],
      [2_000, 100, 7_000],
      [2_000, 10, 7_000],
      [2_000, 1, 5_000],
    ])('at %i per second in steps of %d ms never more leave in any second', async (rate, interval, count) => {
      const { pool, closesMs } = poolOf(count, { namespaces: 3 });
      const leastMs = (Math.ceil(count / rate) - 1) * 1_000;
      const report = await run(pool.drainConnections({ maxPerSecond: rate, interval }), 2 * leastMs + 5_000);
      expect(report).toMatchObject({ closed: count, terminated: 0, left: 0 });
      expect(closesMs()).toHaveLength(count);
      expect(busiestSecond(closesMs())).toBeLessThanOrEqual(rate);
      // Nor much slower: 2 % for the limit's own margin, and the grain of fake timers.
      expect(report!.tookMs).toBeLessThan(leastMs * 1.25 + 1_100);
    });

    test.each([
      [1_000, 100, 100],
      [2_000, 10, 20],
      [2_000, 100, 200],
      [15, 100, 2],
      [7, 100, 1],
      [50, 1_000, 50],
    ])('%i per second in steps of %i ms are %i at a time', async (maxPerSecond, interval, slice) => {
      const { pool, closesMs } = poolOf(maxPerSecond * 2);
      const drained = pool.drainConnections({ maxPerSecond, interval });
      expect(closesMs()).toHaveLength(slice);
      await run(drained, 10_000);
      expect(mostAtOnce(closesMs())).toBe(slice);
    });

    test('the defaults are 1,000 per second, 100 at a time, and 1012 without a reason', async () => {
      const { pool, sockets, closesMs } = poolOf(150);
      const drained = pool.drainConnections({});
      expect(closesMs()).toHaveLength(100);
      await vi.advanceTimersByTimeAsync(99);
      expect(closesMs()).toHaveLength(100);
      await vi.advanceTimersByTimeAsync(11);
      expect(closesMs()).toHaveLength(150);
      await drained;
      expect(sockets[0]!.closes).toEqual([{ code: 1012, reason: '' }]);
    });

    test('code and reason are passed on', async () => {
      const { pool, sockets } = poolOf(1);
      await pool.drainConnections({ code: 4321, reason: 'Moved' });
      expect(sockets[0]!.closes).toEqual([{ code: 4321, reason: 'Moved' }]);
    });

    test('it is over at once when the last socket closes at once', async () => {
      const { pool } = poolOf(5, { newSocket: () => new PromptSocket() });
      const report = await run(pool.drainConnections({}), 1_000);
      expect(report).toMatchObject({ closed: 5, terminated: 0, left: 0, tookMs: 0 });
    });

    test('no timer is left when it is done', async () => {
      const { pool } = poolOf(20);
      await run(pool.drainConnections({ maxPerSecond: 10 }), 5_000);
      await vi.advanceTimersByTimeAsync(1_000);
      expect(vi.getTimerCount()).toBe(0);
    });
  });

  describe('deadline', () => {
    test.each([
      [1, 1_000],
      [10, 1_000],
      [1_000, 5_000],
      [500, 90_000],
    ])('%i connections have all been asked in time and are gone before %i ms', async (count, deadline) => {
      const { pool, closesMs } = poolOf(count);
      const startMs = performance.now();
      const report = await run(pool.drainConnections({ deadline }), 2 * deadline);
      expect(report).toMatchObject({ closed: count, terminated: 0, left: 0 });
      expect(report!.tookMs).toBeLessThanOrEqual(deadline);
      // At most half of the time is kept for answers: the rest is used, and not all leave at once.
      if (count > 1) {
        expect(Math.max(...closesMs()) - startMs).toBeGreaterThanOrEqual(deadline / 2 - 200);
        expect(busiestSecond(closesMs())).toBeLessThanOrEqual(Math.max(10, (count * 2.5 * 1_000) / deadline));
      }
    });

    test('the last `grace` of it is left for answers', async () => {
      const { pool, closesMs } = poolOf(100);
      const startMs = performance.now();
      await run(pool.drainConnections({ deadline: 10_000, grace: 1_000 }), 20_000);
      expect(Math.max(...closesMs()) - startMs).toBeLessThanOrEqual(9_000);
      expect(Math.max(...closesMs()) - startMs).toBeGreaterThanOrEqual(8_500);
    });

    test('those who leave by themselves slow it down', async () => {
      const { pool, sockets, closesMs } = poolOf(1_000);
      const startMs = performance.now();
      const drained = pool.drainConnections({ deadline: 20_000, interval: 1_000, grace: 1_000 });
      await vi.advanceTimersByTimeAsync(5_000);
      const waiting = sockets.filter(({ closedAtMs }) => closedAtMs === undefined);
      const leaving = waiting.slice(0, Math.floor(waiting.length * 0.9));
      for (const socket of leaving) socket.end(1001);
      const report = await run(drained, 40_000);
      expect(report).toMatchObject({ left: leaving.length, terminated: 0 });
      const last = closesMs().filter((atMs) => atMs > startMs + 5_000);
      // Some 75 in the 14 s that are left: not the 50 per second of before.
      expect(busiestSecond(last)).toBeLessThanOrEqual(15);
      expect(Math.max(...last) - startMs).toBeGreaterThanOrEqual(17_000);
    });

    const IN_TEN_SECONDS = { deadline: 10_000, interval: 1_000 };

    test('the turns are spread evenly', async () => {
      const { pool, closesMs } = poolOf(10);
      await run(pool.drainConnections({ ...IN_TEN_SECONDS, grace: 1 }), 20_000);
      expect(closesMs()).toEqual([0, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000]);
    });

    test('answers that are still awaited do not change the pace', async () => {
      const { pool, closesMs } = poolOf(6, { newSocket: () => new TimedSocket(false) });
      await run(pool.drainConnections({ ...IN_TEN_SECONDS, grace: 5_000 }), 20_000);
      expect(closesMs()).toEqual([0, 1_000, 2_000, 3_000, 4_000, 5_000]);
    });

    test('those who left before their turn do not count against those behind them', async () => {
      const { pool, sockets, closesMs } = poolOf(20);
      const drained = pool.drainConnections({ ...IN_TEN_SECONDS, grace: 1 });
      // Two are asked at once; nine are left for the nine turns to come.
      for (const socket of sockets.slice(2, 11)) socket.end(1001);
      expect(await run(drained, 20_000)).toMatchObject({ closed: 11, terminated: 0, left: 9 });
      expect(closesMs()).toEqual([0, 0, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000]);
    });

    // As when the event loop was blocked, or the machine suspended.
    test('behind a stall that took the time of their turns, all are asked at once', async () => {
      const { pool, closesMs } = poolOf(10);
      let hasStalled = false;
      const stall = (): void => {
        if (!hasStalled) vi.advanceTimersByTime(9_500);
        hasStalled = true;
      };
      const options = { deadline: 10_000, grace: 1_000, onProgress: stall };
      const report = await run(pool.drainConnections(options), 20_000);
      expect(report).toMatchObject({ closed: 10, terminated: 0, left: 0 });
      expect(mostAtOnce(closesMs())).toBe(10);
    });

    // To end thousands of sockets at once would hold up the event loop.
    test.each([
      ['are closed then', () => new TimedSocket(false)],
      ['do not say that they are closed then', () => new StuckSocket()],
    ])('sockets that %s: no more than 200 are terminated in a turn', async (_, newSocket) => {
      const { pool, sockets } = poolOf(500, { newSocket });
      const progressMs: number[] = [];
      const report = await run(
        pool.drainConnections({
          deadline: 2_000,
          interval: 500,
          grace: 60_000,
          onProgress: ({ elapsedMs }) => progressMs.push(elapsedMs),
        }),
        10_000,
      );
      expect(report).toMatchObject({ closed: 0, terminated: 500, left: 0 });
      const terminatedMs = sockets.map(({ terminatedAtMs }) => terminatedAtMs!);
      expect(mostAtOnce(terminatedMs)).toBe(200);
      expect(Math.min(...terminatedMs)).toBe(2_000);
      expect(Math.max(...terminatedMs)).toBeLessThanOrEqual(2_030);
      // What remains is to wait: it does not wake up all the time for that.
      expect(progressMs.length).toBeLessThanOrEqual(12);
    });

    test('what is still open at the deadline is terminated, and counted as such', async () => {
      const { pool, sockets } = poolOf(10, { newSocket: () => new TimedSocket(false) });
      const startMs = performance.now();
      const report = await run(pool.drainConnections({ deadline: 2_000, grace: 60_000 }), 10_000);
      expect(report).toMatchObject({ closed: 0, terminated: 10, left: 0 });
      for (const { terminatedAtMs } of sockets) {
        expect(terminatedAtMs! - startMs).toBeGreaterThanOrEqual(2_000);
        expect(terminatedAtMs! - startMs).toBeLessThanOrEqual(2_150);
      }
    });

    // It was only looked at between two slices: with long ones the process outlived its deadline.
    test.each([
      { deadline: 50 },
      { deadline: 1_250, interval: 1_000 },
      { deadline: 1_100, interval: 1_000, jitter: 1 },
    ])('is kept however long the slices are: %o', async (options) => {
      const { pool, sockets } = poolOf(5, { newSocket: () => new TimedSocket(false) });
      const startMs = performance.now();
      await run(pool.drainConnections({ ...options, grace: 60_000 }), 10_000);
      for (const { terminatedAtMs } of sockets) {
        expect(terminatedAtMs! - startMs).toBeLessThanOrEqual(options.deadline + 30);
      }
    });
  });

  describe('jitter', () => {
    test('none keeps the order in which they joined', async () => {
      const { pool, sockets } = poolOf(50);
      const closed: number[] = [];
      for (const [index, socket] of sockets.entries()) socket.once('close', () => closed.push(index));
      await run(pool.drainConnections({ maxPerSecond: 50 }), 5_000);
      expect(closed).toEqual(sockets.map((_, index) => index));
    });

    test('some shuffles the order, and keeps to the rate', async () => {
      const { pool, sockets, closesMs } = poolOf(200);
      const closed: number[] = [];
      for (const [index, socket] of sockets.entries()) socket.once('close', () => closed.push(index));
      const report = await run(pool.drainConnections({ maxPerSecond: 50, jitter: 0.5 }), 20_000);
      expect(report).toMatchObject({ closed: 200 });
      const inOrder = sockets.map((_, index) => index);
      expect(closed).not.toEqual(inOrder);
      expect(closed.toSorted((a, b) => a - b)).toEqual(inOrder);
      expect(busiestSecond(closesMs())).toBeLessThanOrEqual(50);
    });

    test('all of it makes the time between two slices vary by its whole length', async () => {
      const { pool, closesMs } = poolOf(400);
      const report = await run(pool.drainConnections({ maxPerSecond: 100, jitter: 1 }), 30_000);
      expect(report).toMatchObject({ closed: 400 });
      expect(busiestSecond(closesMs())).toBeLessThanOrEqual(100);
      const instants = [...new Set(closesMs())];
      const gaps = new Set(instants.slice(1).map((atMs, index) => Math.round(atMs - instants[index]!)));
      expect(gaps.size).toBeGreaterThan(5);
    });

    test('half of it makes that time vary by half, both ways', async () => {
      const { pool, closesMs } = poolOf(600);
      const options = { deadline: 60_000, interval: 1_000, grace: 1, jitter: 0.5 };
      await run(pool.drainConnections(options), 70_000);
      const instants = [...new Set(closesMs())].toSorted((a, b) => a - b);
      const gaps = instants.slice(1).map((atMs, index) => atMs - instants[index]!);
      expect(Math.min(...gaps)).toBeGreaterThanOrEqual(500);
      expect(Math.max(...gaps)).toBeLessThanOrEqual(1_500);
      // Some sixty of them: that none is in an outer quarter happens once in ten million times.
      expect(Math.min(...gaps)).toBeLessThan(750);
      expect(Math.max(...gaps)).toBeGreaterThan(1_250);
    });

    test('every order is as likely as any other', async () => {
      const counts = new Map<string, number>();
      for (let round = 0; round < 600; round++) {
        const { pool, sockets } = poolOf(3);
        let order = '';
        for (const [index, socket] of sockets.entries()) socket.once('close', () => (order += String(index)));
        await pool.drainConnections({ jitter: 0.5 });
        counts.set(order, (counts.get(order) ?? 0) + 1);
      }
      expect([...counts.keys()].toSorted()).toEqual(['012', '021', '102', '120', '201', '210']);
      // A hundred of each; 40 are more than six standard deviations below that.
      expect(Math.min(...counts.values())).toBeGreaterThan(40);
    });
  });

  describe('grace', () => {
    test('ends those who do not answer their close frame', async () => {
      const { pool, sockets } = poolOf(4, { newSocket: () => new TimedSocket(false) });
      const report = await run(pool.drainConnections({ grace: 700 }), 10_000);
      expect(report).toMatchObject({ closed: 0, terminated: 4, left: 0 });
      for (const { closedAtMs, terminatedAtMs } of sockets) {
        expect(terminatedAtMs! - closedAtMs!).toBeGreaterThanOrEqual(700);
        expect(terminatedAtMs! - closedAtMs!).toBeLessThanOrEqual(1_000);
      }
    });

    test('is the closeTimeout of the pool unless said otherwise, and only for the drain', async () => {
      const pool = new ConnectionsPool({ closeTimeout: 2_000 });
      const socket = new TimedSocket(false);
      await pool.newConnection(new Connection('1', 'default', socket));
      const report = await run(pool.drainConnections({}), 10_000);
      expect(report).toMatchObject({ terminated: 1 });
      expect(socket.terminatedAtMs! - socket.closedAtMs!).toBeGreaterThanOrEqual(2_000);
      expect(socket.terminatedAtMs! - socket.closedAtMs!).toBeLessThanOrEqual(2_300);
    });

    test('holds for each from its own turn', async () => {
      const { pool, sockets } = poolOf(3, { newSocket: () => new TimedSocket(false) });
      await run(pool.drainConnections({ maxPerSecond: 1, grace: 1_500 }), 20_000);
      for (const { closedAtMs, terminatedAtMs } of sockets) {
        expect(terminatedAtMs! - closedAtMs!).toBeGreaterThanOrEqual(1_500);
        expect(terminatedAtMs! - closedAtMs!).toBeLessThanOrEqual(1_800);
      }
    });

    test('ends a connection whose own close does not keep to it, a second later', async () => {
      class Stubborn extends Connection {
        override close(): Promise<void> {
          return new Promise(() => undefined);
        }
      }
      const pool = new ConnectionsPool<string, Stubborn>();
      await pool.newConnection(new Stubborn('1', 'default', new TimedSocket()));
      const report = await run(pool.drainConnections({ grace: 700 }), 10_000);
      expect(report).toMatchObject({ closed: 0, terminated: 1, left: 0, tookMs: 1_700 });
    });
  });

  describe('signal', () => {
    const newcomer = (id: string): Connection => new Connection(id, 'n0', new TimedSocket());

    test('aborted: the promise rejects with its reason, nobody else is closed and the pool is open', async () => {
      const { pool, closesMs } = poolOf(30);
      const controller = new AbortController();
      const drained = pool.drainConnections({ maxPerSecond: 10, signal: controller.signal });
      const outcome = expect(drained).rejects.toBe('stay');
      await vi.advanceTimersByTimeAsync(1_000);
      const before = closesMs().length;
      await expect(pool.newConnection(newcomer('early'))).rejects.toMatchObject({
        code: 'ERR_POOL_DRAINING',
      });

      controller.abort('stay');
      await outcome;
      expect(pool.draining).toBe(false);
      await pool.newConnection(newcomer('late'));
      expect(pool.getConnection('n0', 'late')).toBeDefined();
      await vi.advanceTimersByTimeAsync(5_000);
      expect(closesMs()).toHaveLength(before);
      expect(pool.stats()).toMatchObject({ connections: 30 - before + 1, drains: 1 });
      expect(vi.getTimerCount()).toBe(0);

      const report = await run(pool.drainConnections({}), 5_000);
      expect(report).toMatchObject({ closed: 30 - before + 1 });
    });

    test('aborted already: nothing is closed, and the pool stays open', async () => {
      const { pool, closesMs } = poolOf(3);
      await expect(pool.drainConnections({ signal: AbortSignal.abort('no') })).rejects.toBe('no');
      expect(pool.draining).toBe(false);
      expect(closesMs()).toEqual([]);
      await pool.newConnection(newcomer('new'));
      expect(pool.stats()).toMatchObject({ connections: 4, drains: 0, refused: 0 });
    });

    test('without a reason it is an AbortError', async () => {
      const { pool } = poolOf(1);
      await expect(pool.drainConnections({ signal: AbortSignal.abort() })).rejects.toMatchObject({
        name: 'AbortError',
      });
    });

    test('aborted when all is done: nothing happens, and no listener is left on it', async () => {
      const { pool } = poolOf(3);
      const controller = new AbortController();
      const drained = pool.drainConnections({ signal: controller.signal });
      expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1);
      await run(drained, 1_000);
      expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
      controller.abort();
      expect(pool.draining).toBe(true);
    });

    test('aborted while the last answers are awaited: those are still given their grace period', async () => {
      const { pool, sockets } = poolOf(2, { newSocket: () => new TimedSocket(false) });
      const controller = new AbortController();
      const drained = pool.drainConnections({ grace: 500, signal: controller.signal });
      const outcome = expect(drained).rejects.toBe('stay');
      await vi.advanceTimersByTimeAsync(150);
      controller.abort('stay');
      await outcome;
      await vi.advanceTimersByTimeAsync(1_000);
      expect(sockets.map(({ readyState }) => readyState)).toEqual([3, 3]);
      expect(pool.stats()).toMatchObject({ connections: 0, terminated: 2 });
    });

    // The wake-up was lost on a drain that was not asleep: it noticed only when the next slice was due.
    test('aborted from within onProgress it ends at once', async () => {
      const { pool, closesMs } = poolOf(3);
      const controller = new AbortController();
      const drained = pool.drainConnections({
        maxPerSecond: 1,
        interval: 1_000,
        signal: controller.signal,
        onProgress: () => controller.abort('enough'),
      });
      let isOver = false;
      const outcome = expect(drained.finally(() => (isOver = true))).rejects.toBe('enough');
      await vi.advanceTimersByTimeAsync(1);
      expect(isOver).toBe(true);
      await outcome;
      expect(closesMs()).toHaveLength(1);
    });
  });

  describe('onProgress', () => {
    test('tells after each slice what has become of everyone', async () => {
      const { pool } = poolOf(35, { namespaces: 4 });
      const seen: DrainProgress[] = [];
      const onProgress = (progress: DrainProgress): void => void seen.push(progress);
      await run(pool.drainConnections({ maxPerSecond: 100, onProgress }), 5_000);
      // The sockets answer behind the slice that closes them: 0, 10, 20 and 30 are gone when it is told.
      expect(seen.map(({ closed, remaining }) => [closed, remaining])).toEqual([
        [0, 35],
        [10, 25],
        [20, 15],
        [30, 5],
      ]);
      for (const progress of seen) expect(totalOf(progress) + progress.remaining).toBe(35);
      const elapsed = seen.map(({ elapsedMs }) => elapsedMs);
      expect(elapsed).toEqual(elapsed.toSorted((a, b) => a - b));
    });

    test('goes on while the last answers are awaited', async () => {
      const { pool } = poolOf(2, { newSocket: () => new TimedSocket(false) });
      const seen: DrainProgress[] = [];
      const onProgress = (progress: DrainProgress): void => void seen.push(progress);
      await run(pool.drainConnections({ grace: 1_000, onProgress }), 5_000);
      expect(seen.length).toBeGreaterThanOrEqual(9);
      expect(seen.at(-1)).toMatchObject({ closed: 0, remaining: 2 });
    });

    test.each<[string, DrainOptions]>([
      // The rate is used up, but there is nobody left whom it would hold up.
      ['the last answers are awaited', { maxPerSecond: 2, interval: 500, grace: 2_000 }],
      ['sockets that were terminated do not say that they are closed', { deadline: 1_000, interval: 500 }],
    ])('is called at each interval while only %s', async (_, options) => {
      const { pool } = poolOf(2, { newSocket: () => new StuckSocket() });
      const elapsed: number[] = [];
      const onProgress = ({ elapsedMs }: DrainProgress): void => void elapsed.push(elapsedMs);
      await run(pool.drainConnections({ ...options, onProgress }), 10_000);
      expect(elapsed.slice(0, 5)).toEqual([0, 500, 1_000, 1_500, 2_000]);
    });

    test('and the report count the time from the call', async () => {
      vi.advanceTimersByTime(7_000);
      const { pool } = poolOf(35);
      const elapsed: number[] = [];
      const onProgress = ({ elapsedMs }: DrainProgress): void => void elapsed.push(elapsedMs);
      const report = await run(pool.drainConnections({ maxPerSecond: 100, onProgress }), 5_000);
      expect(elapsed).toEqual([0, 100, 200, 300]);
      expect(report!.tookMs).toBe(300);
    });

    test('that throws is an error event of the pool, and the drain goes on', async () => {
      const { pool } = poolOf(20);
      const errors: unknown[] = [];
      pool.on('error', (error, connection) => errors.push([error.message, connection]));
      const onProgress = (): void => {
        throw new Error('no progress');
      };
      const report = await run(pool.drainConnections({ maxPerSecond: 100, onProgress }), 5_000);
      expect(report).toMatchObject({ closed: 20 });
      expect(errors).toEqual([
        ['no progress', undefined],
        ['no progress', undefined],
      ]);
      expect(pool.stats().errors).toBe(2);
    });
  });

  test('the report has the counts of each namespace, and they add up', async () => {
    const pool = new ConnectionsPool();
    const join = (namespace: string, id: string, socket = new TimedSocket()): TimedSocket => {
      void pool.newConnection(new Connection(id, namespace, socket));
      return socket;
    };
    for (const id of ['1', '2', '3']) join('answers', id);
    for (const id of ['1', '2']) join('silent', id, new TimedSocket(false));
    const [leaver] = [join('mixed', '1'), join('mixed', '2', new TimedSocket(false)), join('mixed', '3')];
    const drained = pool.drainConnections({ maxPerSecond: 2, grace: 500 });
    leaver.end(1001);
    // Those are late in the queue.
    join('__proto__', '1');
    const report = await run(drained, 20_000);
    expectToAddUp(report!, { answers: 3, silent: 2, mixed: 3 });
    expect(report).toMatchObject({ closed: 4, terminated: 3, left: 1 });
    expect(report!.namespaces.get('answers')).toEqual({ closed: 3, terminated: 0, left: 0 });
    expect(report!.namespaces.get('silent')).toEqual({ closed: 0, terminated: 2, left: 0 });
    expect(report!.namespaces.get('mixed')).toEqual({ closed: 1, terminated: 1, left: 1 });
  });

  const badOptions: [string, unknown, ErrorConstructor][] = [
    ...[0, -1, NaN, Infinity, 1.5].map((rate) => [
      `maxPerSecond ${rate}`,
      { maxPerSecond: rate },
      RangeError,
    ]),
    ['maxPerSecond of text', { maxPerSecond: '10' }, TypeError],
    ['maxPerSecond null', { maxPerSecond: null }, TypeError],
    ...[0, -1, NaN, Infinity, 2 ** 31].map((deadline) => [`deadline ${deadline}`, { deadline }, RangeError]),
    ['deadline of text', { deadline: '10' }, TypeError],
    ['maxPerSecond and deadline', { maxPerSecond: 10, deadline: 1_000 }, TypeError],
    ...[0, -1, NaN, Infinity, 1_001].map((interval) => [`interval ${interval}`, { interval }, RangeError]),
    ['interval of text', { interval: '100' }, TypeError],
    ...[-0.1, 1.1, NaN].map((jitter) => [`jitter ${jitter}`, { jitter }, RangeError]),
    ['jitter true', { jitter: true }, TypeError],
    ...[0, -1, NaN, Infinity].map((grace) => [`grace ${grace}`, { grace }, RangeError]),
    ['grace of text', { grace: '1' }, TypeError],
    ['code 1006', { code: 1006 }, RangeError],
    ['code 999', { code: 999 }, RangeError],
    ['code of text', { code: '1000' }, TypeError],
    ['a reason of 124 bytes', { reason: 'x'.repeat(124) }, RangeError],
    ['a reason that is no text', { reason: 1 }, TypeError],
    ['a signal that is none', { signal: {} }, TypeError],
    ['onProgress that is no function', { onProgress: 'log' }, TypeError],
    ['null for all of them', null, TypeError],
  ] as [string, unknown, ErrorConstructor][];

  test.each(badOptions)('%s is refused, and nothing is closed', async (_, options, error) => {
    const { pool, closesMs } = poolOf(2);
    const refusal: unknown = await pool
      .drainConnections(options as DrainOptions)
      .catch((thrown: unknown) => thrown);
    expect(refusal).toBeInstanceOf(error);
    for (const name of Object.keys(options ?? { maxPerSecond: null })) {
      expect((refusal as Error).message).toMatch(new RegExp(`^Expected .*${name}.*, got `));
    }
    expect(pool.draining).toBe(false);
    expect(pool.stats()).toMatchObject({ connections: 2, drains: 0 });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(closesMs()).toEqual([]);
  });

  describe('a random drain', () => {
    interface Behaviour {
      readonly random: Random;
      readonly sockets: readonly TimedSocket[];
    }

    /** Some leave by themselves while it runs. */
    async function runWithDepartures(
      drained: Promise<DrainReport>,
      { random, sockets }: Behaviour,
      withinMs: number,
    ): Promise<DrainReport | undefined> {
      let report: DrainReport | undefined;
      void drained.then((result) => (report = result));
      for (let passedMs = 0; passedMs < withinMs && report === undefined;) {
        const stepMs = 1 + random.below(400);
        await vi.advanceTimersByTimeAsync(stepMs);
        passedMs += stepMs;
        for (let leaving = random.below(3); leaving > 0; leaving--) random.pick(sockets).end(1001);
      }
      return report;
    }

    test.each(Array.from({ length: 60 }, (_, seed) => seed))(
      'keeps to its rate in every second, ends, and its report adds up (seed %i)',
      async (seed) => {
        const random = new Random(seed);
        const [rate, seconds] = [1 + random.below(300), random.below(6)];
        const count = 1 + random.below(rate * seconds + 2);
        const namespaces = 1 + random.below(4);
        const deafness = random.pick([0, 0, 0.1]);
        const { pool, sockets, closesMs } = poolOf(count, {
          namespaces,
          newSocket: () => new TimedSocket(!random.chance(deafness)),
        });
        const sizes: Record<string, number> = {};
        for (const [name, members] of pool.connections) sizes[name] = members.size;
        const options: DrainOptions = {
          maxPerSecond: rate,
          interval: random.pick([5, 50, 100, 333, 1_000]),
          jitter: random.pick([0, 0, 0.3, 1]),
          grace: 500,
        };
        const withinMs = 3_000 * (count / rate) + 10_000;
        const report = await runWithDepartures(pool.drainConnections(options), { random, sockets }, withinMs);
        expect(report).toBeDefined();
        expectToAddUp(report!, sizes);
        expect(busiestSecond(closesMs())).toBeLessThanOrEqual(rate);
        expect(pool.stats()).toMatchObject({ connections: 0, namespaces: 0, drains: 1 });
        expect(pool.stats().terminated).toBe(report!.terminated);
        expect(Math.max(...sockets.map(({ closes }) => closes.length))).toBeLessThanOrEqual(1);
        await vi.advanceTimersByTimeAsync(1_000);
        expect(vi.getTimerCount()).toBe(0);
      },
    );

    test.each(Array.from({ length: 30 }, (_, seed) => seed))(
      'is over at its deadline (seed %i)',
      async (seed) => {
        const random = new Random(1_000 + seed);
        const count = 1 + random.below(500);
        const { pool, sockets } = poolOf(count, {
          namespaces: 3,
          newSocket: () => new TimedSocket(!random.chance(0.1)),
        });
        const sizes: Record<string, number> = {};
        for (const [name, members] of pool.connections) sizes[name] = members.size;
        const deadline = 500 + random.below(20_000);
        const options = { deadline, grace: 1 + random.below(5_000), jitter: random.pick([0, 0.3, 1]) };
        const report = await runWithDepartures(
          pool.drainConnections(options),
          { random, sockets },
          2 * deadline + 5_000,
        );
        expect(report).toBeDefined();
        expectToAddUp(report!, sizes);
        // The grain of the fake steps above, no more.
        expect(report!.tookMs).toBeLessThanOrEqual(deadline + 400);
      },
    );
  });
});

// These wait for drains, which they may do beside each other.
describe.concurrent('on real sockets', () => {
  async function poolOf(count: number, pool = new ConnectionsPool()) {
    const loopback = await Loopback.start();
    const members: Awaited<ReturnType<Loopback['connect']>>[] = [];
    for (let index = 0; index < count; index++) {
      const member = await loopback.connect(String(index), index % 2 === 0 ? 'even' : 'odd');
      await pool.newConnection(member.connection);
      members.push(member);
    }
    return { loopback, pool, members, closes: members.map(({ client }) => client.closed) };
  }

  test(
    'no more than the rate close within any second, and every client is told why',
    { timeout: 15_000 },
    async () => {
      const rate = 20;
      const { pool, members, closes } = await poolOf(50);
      const closingTimes = members.map(({ socket }) => noteClosing(socket));
      const report = await pool.drainConnections({ maxPerSecond: rate, interval: 100, reason: 'Deploy' });
      const ends = (await Promise.all(closes)).map(({ code, reason }) => `${code} ${reason}`);
      expect(new Set(ends)).toEqual(new Set(['1012 Deploy']));
      expect(busiestSecond(await Promise.all(closingTimes))).toBeLessThanOrEqual(rate);
      expectToAddUp(report, { even: 25, odd: 25 });
      expect(report.tookMs).toBeGreaterThanOrEqual(2_000);
    },
  );

  test('a deadline empties the pool, and ends those who do not answer', async () => {
    const { loopback, pool, closes } = await poolOf(10);
    const { socket } = await connectMute(loopback);
    await pool.newConnection(new Connection('mute', 'mute', socket));
    const report = await pool.drainConnections({ deadline: 800, interval: 20 });
    expect(report).toMatchObject({ closed: 10, terminated: 1, left: 0 });
    expect(report.tookMs).toBeGreaterThanOrEqual(800);
    expect(new Set((await Promise.all(closes)).map(({ code }) => code))).toEqual(new Set([1012]));
    expect(pool.connections.size).toBe(0);
  });

  test('an aborted drain leaves the rest connected and takes newcomers', async () => {
    const { loopback, pool, members } = await poolOf(3);
    const controller = new AbortController();
    const drained = pool.drainConnections({ maxPerSecond: 1, signal: controller.signal });
    await members[0]!.client.closed;
    controller.abort(new Error('rolled back'));
    await expect(drained).rejects.toThrow('rolled back');
    const newcomer = await loopback.connect('new', 'even');
    await pool.newConnection(newcomer.connection);
    expect(await pool.broadcastMessage('even', 'still here')).toMatchObject({ recipients: 2, sent: 2 });
    expect(await newcomer.client.exactly(1)).toEqual(['still here']);
    expect(await members[2]!.client.exactly(1)).toEqual(['still here']);
    await members[1]!.client.roundTrip();
  });

  // Each step behind the deadline terminated them anew, counted that and gave them another second: for ever.
  test('sockets that never say that they are closed are given up, once', async () => {
    class Stuck extends MemorySocket {
      override terminate(): void {
        this.readyState = 2;
      }
    }
    const pool = new ConnectionsPool();
    for (const id of ['1', '2', '3']) await pool.newConnection(new Connection(id, 'n', new Stuck(false)));
    const report = await pool.drainConnections({ deadline: 200 });
    expectToAddUp(report, { n: 3 });
    expect(report).toMatchObject({ closed: 0, terminated: 3, left: 0 });
    expect(pool.stats()).toMatchObject({ connections: 0, terminated: 3 });
  });
});
