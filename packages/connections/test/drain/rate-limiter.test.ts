import assert from 'node:assert/strict';
import { expect, test } from 'vitest';
import { RateLimiter } from '../../src/drain/rate-limiter.js';
import { Random } from '../support/random.js';
import { runs } from '../support/runs.js';
import { busiestSecond } from '../support/timed-pool.js';

test('a new limiter lets its whole rate pass at once', () => {
  const limiter = new RateLimiter(5);
  expect(limiter.allowed(0)).toBe(5);
  expect(limiter.waitMs(0)).toBe(0);
});

test('a limiter that is used up has room again one window after the oldest close that it let pass', () => {
  const limiter = new RateLimiter(5);
  limiter.record(0, 3);
  limiter.record(400, 2);
  expect(limiter.allowed(400)).toBe(0);
  expect(limiter.waitMs(400)).toBe(620);
  // The window is a little over a second: clients must not see more than the rate within any one second.
  expect(limiter.allowed(1_019)).toBe(0);
  expect(limiter.allowed(1_020)).toBe(3);
  expect(limiter.waitMs(1_020)).toBe(0);
  expect(limiter.allowed(1_420)).toBe(5);
});

test('a slice in which nobody had to be closed uses nothing of the rate', () => {
  const limiter = new RateLimiter(1);
  limiter.record(0, 0);
  expect(limiter.allowed(0)).toBe(1);
  expect(limiter.waitMs(0)).toBe(0);
});

test.each(Array.from({ length: runs({ quick: 5, ci: 20 }) }, (_, seed) => seed))(
  'no more than the rate passes in any second, however uneven the requests are (seed %i)',
  (seed) => {
    const random = new Random(seed);
    const rate = 1 + random.below(50);
    const limiter = new RateLimiter(rate);
    const passed: number[] = [];
    for (let nowMs = 0; nowMs < 20_000; nowMs += random.below(300)) {
      const waitMs = limiter.waitMs(nowMs);
      const allowed = limiter.allowed(nowMs);
      assert.equal(waitMs > 0, allowed === 0);
      // After the wait that it asks for, it must let at least one pass.
      if (allowed === 0) nowMs += waitMs;
      assert(limiter.allowed(nowMs) > 0);
      const count = Math.min(limiter.allowed(nowMs), random.below(rate + 1));
      limiter.record(nowMs, count);
      for (let one = 0; one < count; one++) passed.push(nowMs);
    }
    expect(passed.length).toBeGreaterThan(rate);
    expect(busiestSecond(passed)).toBeLessThanOrEqual(rate);
  },
);

// A drain that replaced an aborted one began with an empty window: twice the rate was closed in a second.
test('a limiter that follows another one counts what passed there', () => {
  const earlier = new RateLimiter(10);
  earlier.record(1_000, 4);
  earlier.record(1_500, 3);
  const limiter = new RateLimiter(10, earlier);
  expect(limiter.allowed(1_600)).toBe(3);
  limiter.record(1_600, 3);
  expect(limiter.allowed(1_600)).toBe(0);
  expect(limiter.waitMs(1_600)).toBe(420);
  // The first four have left the window.
  expect(limiter.allowed(2_020)).toBe(4);
  // The earlier limiter continues on its own.
  expect(earlier.allowed(1_600)).toBe(3);
});

test('a limiter with a smaller rate than the one before it lets nobody pass until there is room again', () => {
  const earlier = new RateLimiter(100);
  earlier.record(1_000, 80);
  const limiter = new RateLimiter(10, earlier);
  expect(limiter.allowed(1_500)).toBeLessThanOrEqual(0);
  expect(limiter.waitMs(1_500)).toBe(520);
  expect(limiter.allowed(2_020)).toBe(10);
});
