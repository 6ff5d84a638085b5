import { expect, test } from 'vitest';
import { RateLimiter } from '../../src/drain/rate-limiter.js';

// A drain that went on in the place of an aborted one began with an empty window: twice the rate closed in a second.
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
  // The earlier one goes on on its own.
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
