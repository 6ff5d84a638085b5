import assert from 'node:assert/strict';
import { describe, expect, test } from 'vitest';
import { Heartbeat, nextMoment } from '../../src/liveness/heartbeat.js';

describe('a heartbeat', () => {
  const INTERVAL_MS = 1_000;
  const TIMEOUT_MS = 400;
  const START_MS = 5_000;
  const newHeartbeat = (moment = 0): Heartbeat => new Heartbeat(INTERVAL_MS, TIMEOUT_MS, START_MS, moment);

  test.each([0, 7, 29])('a heartbeat pings first at moment %d of the thirty, and not before', (moment) => {
    const heartbeat = newHeartbeat(moment);
    const firstMs = START_MS + (moment * INTERVAL_MS) / 30;
    expect(heartbeat.dueAtMs).toBeCloseTo(firstMs, 6);
    expect(heartbeat.beat(firstMs - 1, START_MS)).toBe('wait');
    expect(heartbeat.beat(firstMs, START_MS)).toBe('ping');
  });

  test('a heartbeat pings at its moment of an interval, whenever it began', () => {
    for (let step = 0; step < 1_000; step++) {
      const startMs = START_MS + step * 7.3;
      const heartbeat = new Heartbeat(INTERVAL_MS, TIMEOUT_MS, startMs, step % 30);
      const firstMs = heartbeat.dueAtMs;
      assert(firstMs >= startMs);
      assert(firstMs < startMs + INTERVAL_MS);
      assert.equal(heartbeat.beat(firstMs, 0), 'ping');
      assert.equal(heartbeat.beat(firstMs + 1, firstMs + 1), 'wait');
      const moment = (heartbeat.dueAtMs * 30) / INTERVAL_MS;
      assert(Math.abs(moment - Math.round(moment)) < 5e-7);
      assert.equal(Math.round(moment) % 30, step % 30);
    }
  });

  // The moment used to be computed from the time of joining, in steps. At some rates the two rhythms met: some moments
  // had five times their share and others none.
  test.each([2.79, 21.9, 152, 1_000])(
    'heartbeats that begin at %d a second are spread evenly over the moments',
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

  test('a heartbeat pings again one interval after an answered ping', () => {
    const heartbeat = newHeartbeat();
    heartbeat.beat(START_MS, 0);
    expect(heartbeat.dueAtMs).toBe(START_MS + TIMEOUT_MS);
    expect(heartbeat.beat(START_MS + TIMEOUT_MS, START_MS + 10)).toBe('wait');
    expect(heartbeat.dueAtMs).toBe(START_MS + INTERVAL_MS);
    expect(heartbeat.beat(START_MS + INTERVAL_MS - 1, START_MS + 10)).toBe('wait');
    expect(heartbeat.beat(START_MS + INTERVAL_MS, START_MS + 10)).toBe('ping');
  });

  test('a peer is dead when nothing has arrived for the timeout, and not before', () => {
    const heartbeat = newHeartbeat();
    heartbeat.beat(START_MS, START_MS - 1);
    expect(heartbeat.beat(START_MS + TIMEOUT_MS - 1, START_MS - 1)).toBe('wait');
    expect(heartbeat.beat(START_MS + TIMEOUT_MS, START_MS - 1)).toBe('dead');
  });

  // If a ping went out late, it is still unanswered when the next one is due. Another ping would only delay the verdict.
  test('a heartbeat does not ping again while it waits for an answer', () => {
    const heartbeat = new Heartbeat(INTERVAL_MS, INTERVAL_MS, START_MS, 0);
    const pingedMs = START_MS + 150;
    expect(heartbeat.beat(pingedMs, 0)).toBe('ping');
    expect(heartbeat.beat(START_MS + INTERVAL_MS, 0)).toBe('wait');
    expect(heartbeat.dueAtMs).toBe(pingedMs + INTERVAL_MS);
    expect(heartbeat.beat(pingedMs + INTERVAL_MS, 0)).toBe('dead');
  });

  test('a peer gets no extra time when the check is only as late as the wheel may be', () => {
    const heartbeat = newHeartbeat();
    heartbeat.beat(START_MS, START_MS - 1);
    expect(heartbeat.beat(START_MS + TIMEOUT_MS + 200, START_MS - 1)).toBe('dead');
  });

  // After a stall of the event loop, timers run before anything is read: the answer may have arrived and be unread.
  test('a peer gets a little more time, once, when the check is much too late', () => {
    const heartbeat = newHeartbeat();
    heartbeat.beat(START_MS, START_MS - 1);
    const lateMs = START_MS + TIMEOUT_MS + 201;
    expect(heartbeat.beat(lateMs, START_MS - 1)).toBe('wait');
    expect(heartbeat.dueAtMs).toBe(lateMs + 200);
    expect(heartbeat.beat(lateMs + 199, START_MS - 1)).toBe('wait');
    expect(heartbeat.beat(lateMs + 1_000, START_MS - 1)).toBe('dead');
  });

  test('a peer is alive when its answer is seen late', () => {
    const heartbeat = newHeartbeat();
    heartbeat.beat(START_MS, 0);
    expect(heartbeat.beat(START_MS + 100 * TIMEOUT_MS, START_MS + 99 * TIMEOUT_MS)).not.toBe('dead');
  });

  test('a heartbeat with a timeout as long as the interval pings again as soon as the last ping was answered', () => {
    const heartbeat = new Heartbeat(INTERVAL_MS, INTERVAL_MS, START_MS, 0);
    for (let atMs = START_MS; atMs < START_MS + 10 * INTERVAL_MS; atMs += INTERVAL_MS) {
      expect(heartbeat.dueAtMs).toBe(atMs);
      expect(heartbeat.beat(atMs, atMs - 1)).toBe('ping');
      expect(heartbeat.beat(atMs + 1, atMs + 1)).toBe('wait');
    }
  });

  test('a heartbeat does not make up for pings that were missed during a sleep', () => {
    const heartbeat = newHeartbeat();
    heartbeat.beat(START_MS, 0);
    const wokenMs = START_MS + 100.5 * INTERVAL_MS;
    expect(heartbeat.beat(wokenMs, START_MS + 10)).toBe('ping');
    expect(heartbeat.beat(wokenMs, wokenMs)).toBe('wait');
    expect(heartbeat.dueAtMs).toBeGreaterThan(wokenMs);
  });
});
