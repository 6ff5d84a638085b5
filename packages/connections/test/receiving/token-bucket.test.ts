import { describe, expect, test } from 'vitest';
import { TokenBucket } from '../../src/receiving/token-bucket.js';

const NONE = {
  messagesPerSecond: Infinity,
  bytesPerSecond: Infinity,
  burst: Infinity,
  onExceeded: 'drop',
} as const;

/** How many empty messages it takes at that time. */
function takeAll(bucket: TokenBucket, nowMs: number): number {
  let count = 0;
  while (count < 1_000_000 && bucket.take(0, nowMs)) count++;
  return count;
}

describe('a token bucket', () => {
  test('a new token bucket takes a burst of messages and no more', () => {
    const bucket = new TokenBucket({ ...NONE, messagesPerSecond: 10, burst: 25 }, 5_000);
    expect(takeAll(bucket, 5_000)).toBe(25);
  });

  test('an empty token bucket takes as many messages as its rate brings back', () => {
    const bucket = new TokenBucket({ ...NONE, messagesPerSecond: 10, burst: 25 }, 0);
    takeAll(bucket, 0);
    expect(takeAll(bucket, 99)).toBe(0);
    expect(takeAll(bucket, 100)).toBe(1);
    expect(takeAll(bucket, 350)).toBe(2);
    expect(takeAll(bucket, 400)).toBe(1);
  });

  test('an empty token bucket has the clock looked at for every sixteenth message of a flood', () => {
    const bucket = new TokenBucket({ ...NONE, messagesPerSecond: 1, burst: 1 }, 0);
    expect(bucket.isStillEmpty()).toBe(false);
    bucket.take(0, 0);
    const answers = Array.from({ length: 32 }, () => bucket.isStillEmpty());
    expect(answers.flatMap((isEmpty, index) => (isEmpty ? [] : [index]))).toEqual([15, 31]);
  });

  test('a token bucket that rests for hours takes one burst, not two', () => {
    const bucket = new TokenBucket({ ...NONE, messagesPerSecond: 10, burst: 25 }, 0);
    for (let i = 0; i < 20; i++) bucket.take(0, 0);
    expect(takeAll(bucket, 3_600_000)).toBe(25);
    expect(takeAll(bucket, 3_600_000)).toBe(0);
  });

  test('a token bucket counts bytes, and takes nothing for a message that does not fit', () => {
    const bucket = new TokenBucket({ ...NONE, bytesPerSecond: 1_000 }, 0);
    expect(bucket.take(700, 0)).toBe(true);
    expect(bucket.take(301, 0)).toBe(false);
    expect(bucket.take(300, 0)).toBe(true);
    expect(bucket.take(1, 0)).toBe(false);
    expect(bucket.take(0, 0)).toBe(true);
    expect(bucket.take(500, 500)).toBe(true);
  });

  test('a message needs tokens of both kinds', () => {
    const bucket = new TokenBucket({ ...NONE, messagesPerSecond: 1, burst: 2, bytesPerSecond: 100 }, 0);
    expect(bucket.take(100, 0)).toBe(true);
    expect(bucket.take(1, 0)).toBe(false);
    expect(bucket.take(0, 0)).toBe(true);
    expect(bucket.take(0, 0)).toBe(false);
  });

  test('a message larger than the token bucket never fits when it has just arrived', () => {
    const bucket = new TokenBucket({ ...NONE, bytesPerSecond: 1_000 }, 0);
    expect(bucket.take(1_001, 3_600_000)).toBe(false);
  });

  test('no tokens come back at the same moment, and what is not limited stays unlimited', () => {
    const bucket = new TokenBucket({ ...NONE, bytesPerSecond: 10 }, 0);
    expect([bucket.take(10, 0), bucket.take(1, 0), bucket.take(0, 0)]).toEqual([true, false, true]);
    expect(bucket.take(1, 100)).toBe(true);
  });

  test('a clock that is set back takes no tokens away', () => {
    const bucket = new TokenBucket({ ...NONE, messagesPerSecond: 1, burst: 2 }, 10_000);
    expect([bucket.take(0, 0), bucket.take(0, 0), bucket.take(0, 0)]).toEqual([true, true, false]);
    expect(bucket.take(0, 1_000)).toBe(true);
  });
});

describe('a message that waits for a token bucket', () => {
  test('a message waits until enough tokens have been added', () => {
    const bucket = new TokenBucket({ ...NONE, messagesPerSecond: 4, burst: 1, bytesPerSecond: 100 }, 0);
    expect(bucket.take(90, 0)).toBe(true);
    expect(bucket.take(10, 0)).toBe(false);
    expect(bucket.waitMs(10)).toBe(250);
    expect(bucket.waitMs(110)).toBe(1_000);
    expect(bucket.takeWaiting(10, 249)).toBe(false);
    expect(bucket.waitMs(10)).toBeCloseTo(1);
    expect(bucket.takeWaiting(10, 250)).toBe(true);
  });

  test('a message larger than the token bucket fits after it has waited for all of its bytes', () => {
    const bucket = new TokenBucket({ ...NONE, bytesPerSecond: 1_000 }, 0);
    expect(bucket.take(5_000, 0)).toBe(false);
    expect(bucket.waitMs(5_000)).toBe(4_000);
    expect(bucket.takeWaiting(5_000, 3_999)).toBe(false);
    expect(bucket.takeWaiting(5_000, 4_000)).toBe(true);
    expect(bucket.take(1, 4_000)).toBe(false);
  });

  test('messages that waited together get all tokens of that time, and what is left over is lost', () => {
    const bucket = new TokenBucket({ ...NONE, messagesPerSecond: 1_000, burst: 1 }, 0);
    takeAll(bucket, 0);
    const fits = Array.from({ length: 60 }, () => bucket.takeWaiting(0, 100));
    expect(fits).not.toContain(false);
    expect(takeAll(bucket, 100)).toBe(1);
  });

  // A message of 10 MB waited nine seconds for its bytes, and a thousand small ones after it were taken at once.
  test('messages after one that waits long for its bytes get one burst, and what a late look has missed', () => {
    const bucket = new TokenBucket(
      { ...NONE, messagesPerSecond: 100, burst: 100, bytesPerSecond: 1_000_000 },
      0,
    );
    expect(bucket.take(10_000_000, 0)).toBe(false);
    const dueAtMs = bucket.waitMs(10_000_000);
    expect(bucket.takeWaiting(10_000_000, dueAtMs)).toBe(true);
    let count = 0;
    while (count < 10_000 && bucket.takeWaiting(0, dueAtMs)) count++;
    expect(count).toBeLessThanOrEqual(100 + 20);
    expect(count).toBeGreaterThanOrEqual(100 - 1);
  });

  test('bytes are not saved up either while messages wait for other tokens', () => {
    const bucket = new TokenBucket({ ...NONE, messagesPerSecond: 1, burst: 1, bytesPerSecond: 1_000 }, 0);
    for (let second = 0; second < 100; second++) expect(bucket.takeWaiting(0, second * 1_000)).toBe(true);
    expect(bucket.takeWaiting(50_000, 100_000)).toBe(false);
    expect(bucket.waitMs(50_000)).toBe(47_800);
  });

  test('a wait is never longer than a timer can hold', () => {
    const bucket = new TokenBucket({ ...NONE, messagesPerSecond: Number.MIN_VALUE, burst: 1 }, 0);
    takeAll(bucket, 0);
    expect(bucket.waitMs(0)).toBe(2 ** 31 - 1);
  });
});
