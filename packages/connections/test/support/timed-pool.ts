import { expect, vi } from 'vitest';
import { Connection, ConnectionsPool, type DrainCounts, type DrainReport } from '../../src/index.js';
import { MemorySocket } from './memory-socket.js';

/** Records when it was asked to close and when it was terminated. */
export class TimedSocket extends MemorySocket {
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

/** Never reports that it is closed, not even when it is terminated: the connection gives it up after a second. */
export class StuckSocket extends TimedSocket {
  constructor() {
    super(false);
  }

  override terminate(): void {
    this.terminatedAtMs ??= performance.now();
    this.readyState = 2;
  }
}

/** Is closed before `close` returns. */
export class PromptSocket extends TimedSocket {
  override close(code?: number, reason?: string): void {
    super.close(code, reason);
    this.end(code, reason);
  }
}

/** A connection whose own `close` does nothing and never settles. */
export class StubbornConnection extends Connection {
  override close(): Promise<void> {
    return new Promise(() => undefined);
  }
}

interface TimedPoolOptions {
  readonly namespaces?: number;
  readonly newSocket?: () => TimedSocket;
}

/** A pool with `count` members, distributed over the namespaces `n0`, `n1` and so on in turn. For a fake clock. */
export function timedPool(
  count: number,
  { namespaces = 1, newSocket = () => new TimedSocket() }: TimedPoolOptions = {},
) {
  const pool = new ConnectionsPool();
  const sockets = Array.from({ length: count }, (_, index) => {
    const socket = newSocket();
    void pool.newConnection(new Connection(String(index), `n${index % namespaces}`, socket));
    return socket;
  });
  const closesMs = (): number[] => sockets.flatMap(({ closedAtMs }) => closedAtMs ?? []);
  return { pool, sockets, closesMs };
}

/** Moves the fake clock until the drain has ended; `undefined` if it has not ended within that time. */
export async function runDrain(
  drained: Promise<DrainReport>,
  withinMs: number,
): Promise<DrainReport | undefined> {
  let report: DrainReport | undefined;
  void drained.then((result) => (report = result));
  for (let passedMs = 0; passedMs < withinMs && report === undefined; passedMs += 100) {
    await vi.advanceTimersByTimeAsync(100);
  }
  return report;
}

/** The largest number of these times that lie within one second. */
export function busiestSecond(instantsMs: readonly number[]): number {
  const sorted = instantsMs.toSorted((a, b) => a - b);
  let [busiest, oldest] = [0, 0];
  for (const [index, atMs] of sorted.entries()) {
    while (atMs - sorted[oldest]! >= 1_000) oldest++;
    busiest = Math.max(busiest, index - oldest + 1);
  }
  return busiest;
}

/** The largest number of these times that are equal. */
export function mostAtOnce(instantsMs: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const atMs of instantsMs) counts.set(atMs, (counts.get(atMs) ?? 0) + 1);
  return Math.max(...counts.values());
}

export const totalOf = ({ closed, terminated, left }: DrainCounts): number => closed + terminated + left;

/** The counts of the namespaces add up to those of the report, and these to the number of connections. */
export function expectToAddUp(report: DrainReport, sizes: Record<string, number>): void {
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

/** At that rate, in steps of that many ms, no more than `rate` leave in any second, and not many fewer. */
export async function expectPace(rate: number, interval: number, count: number): Promise<void> {
  const { pool, closesMs } = timedPool(count, { namespaces: 3 });
  const leastMs = (Math.ceil(count / rate) - 1) * 1_000;
  const report = await runDrain(pool.drainConnections({ maxPerSecond: rate, interval }), 2 * leastMs + 5_000);
  expect(report).toMatchObject({ closed: count, terminated: 0, left: 0 });
  expect(closesMs()).toHaveLength(count);
  expect(busiestSecond(closesMs())).toBeLessThanOrEqual(rate);
  // It is not much slower either: 2 % is the margin of the limit, the rest is the resolution of the fake timers.
  expect(report!.tookMs).toBeLessThan(leastMs * 1.25 + 1_100);
}
