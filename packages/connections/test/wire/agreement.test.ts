import { expect, test } from 'vitest';
import { canCompress, compressAlike, internAgreement, windowBitsFor } from '../../src/wire/agreement.js';

const agreed = (windowBits: number, level?: number, thresholdBytes = 0) => ({
  isStateless: true,
  windowBits,
  thresholdBytes,
  level,
  memLevel: undefined,
});

test('windows are rounded down to three sizes, except a window of 8 bits', () => {
  const bits = [8, 9, 10, 11, 12, 13, 14, 15].map((size) => internAgreement(agreed(size)).windowBits);
  expect(bits).toEqual([8, 9, 9, 9, 12, 12, 12, 15]);
});

test('agreements that are served with the same frames are one object', () => {
  expect(internAgreement(agreed(14))).toBe(internAgreement(agreed(12)));
  expect(internAgreement(agreed(14))).not.toBe(internAgreement(agreed(15)));
  expect(internAgreement(agreed(15, 1))).not.toBe(internAgreement(agreed(15, 2)));
});

test('a message is not compressed for a window of 8 bits, below the threshold, or if it is empty', () => {
  expect([8, 9, 15].map((bits) => canCompress(agreed(bits), 100))).toEqual([false, true, true]);
  expect([99, 100].map((bytes) => canCompress(agreed(15, 1, 100), bytes))).toEqual([false, true]);
  expect([0, 1].map((bytes) => canCompress(agreed(15), bytes))).toEqual([false, true]);
});

test('a message is compressed with a window that just holds it, of at least 9 bits', () => {
  const sizes = [1, 250, 251, 762, 763, 3_834, 3_835, 32_506, 32_507, 1e6];
  expect(sizes.map((size) => windowBitsFor(agreed(15), size))).toEqual([
    9, 9, 10, 10, 11, 12, 13, 15, 15, 15,
  ]);
  expect(sizes.map((size) => windowBitsFor(agreed(12), size))).toEqual([
    9, 9, 10, 10, 11, 12, 12, 12, 12, 12,
  ]);
});

test('windows that both hold a message are served alike, unless the level differs', () => {
  const [small, large] = [internAgreement(agreed(12)), internAgreement(agreed(15))];
  expect([3_834, 3_835].map((size) => compressAlike(small, large, size))).toEqual([true, false]);
  expect(compressAlike(small, small, 1e6)).toBe(true);
  expect(compressAlike(agreed(15, 1), agreed(15, 2), 10)).toBe(false);
  expect(compressAlike(agreed(15), { ...agreed(15), memLevel: 1 }, 10)).toBe(false);
});
