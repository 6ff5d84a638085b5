import assert from 'node:assert/strict';
import { describe, expect, test, vi } from 'vitest';
import { useFakeClock } from '../support/fake-clock.js';
import { runs } from '../support/runs.js';
import type { PingSocket } from '../support/ping-sockets.js';
import { INTERVAL_MS, joinMany, newPool, terminateAfterEach } from '../support/ping-sockets.js';

describe('the heartbeats of many connections', () => {
  useFakeClock();
  const SOCKETS = runs({ quick: 480, ci: 1_000 });
  terminateAfterEach();

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
    const sockets = joinMany(pool, SOCKETS);
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

  test('pings of many small pools are spread like those of a large one', async () => {
    const sockets = Array.from({ length: SOCKETS / 10 }, () => joinMany(newPool(), 10)).flat();
    await vi.advanceTimersByTimeAsync(INTERVAL_MS);
    expect(await burstOf(sockets)).toBeLessThanOrEqual(2 * FAIR_SHARE);
  });

  test('pings stay spread when some connections leave and others join', async () => {
    const pool = newPool();
    const early = joinMany(pool, SOCKETS);
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
    const sockets = joinMany(pool, SOCKETS);
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

  test('a clock that jumps by an hour terminates nobody and pings nobody twice', async () => {
    const pool = newPool();
    const sockets = joinMany(pool, SOCKETS);
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
