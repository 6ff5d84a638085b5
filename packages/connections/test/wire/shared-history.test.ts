import { expect, test } from 'vitest';
import { ConnectionsPool } from '../../src/index.js';
import type { Agreement } from '../../src/wire/agreement.js';
import { dictionaryFrom, fullDictionary, reach, SharedHistory } from '../../src/wire/shared-history.js';

const agreement = (windowBits: number): Agreement => ({
  isStateless: false,
  windowBits,
  thresholdBytes: 0,
  level: undefined,
  memLevel: undefined,
});

test.each([511, 32_769, 1.5, NaN])('a history of %d bytes is a RangeError', (bytes) => {
  expect(() => new ConnectionsPool({ compression: { history: { bytes } } })).toThrow(RangeError);
});

test.each([null, 8_192, { history: 8_192 }, { history: { bytes: '8192' } }, { history: null }])(
  'a compression option that is not an object is a TypeError (%j)',
  (compression) => {
    expect(() => new ConnectionsPool({ compression: compression as never })).toThrow(TypeError);
  },
);

test('a segment knows its place and the bytes before it, as far back as the history reaches', () => {
  const history = new SharedHistory(40);
  const segments = ['a', 'b', 'c'].map((letter) => history.append(Buffer.alloc(30, letter))!);
  expect(segments.map(({ start, end }) => [start, end])).toEqual([
    [0, 30],
    [30, 60],
    [60, 90],
  ]);
  expect(segments.map(({ dictionary }) => dictionary.toString())).toEqual([
    '',
    'a'.repeat(30),
    'a'.repeat(10) + 'b'.repeat(30),
  ]);
});

test('a payload larger than the history leaves only its end in it', () => {
  const history = new SharedHistory(40);
  history.append(Buffer.from(`${'x'.repeat(60)}${'y'.repeat(40)}`));
  expect(history.append(Buffer.alloc(20))!.dictionary.toString()).toBe('y'.repeat(40));
});

test('a payload below 16 bytes does not enter the history', () => {
  const history = new SharedHistory(40);
  expect(history.append(Buffer.alloc(15))).toBeUndefined();
  expect(history.append(Buffer.alloc(16))).toMatchObject({ start: 0, end: 16 });
});

test('a history keeps its bytes when the caller changes the buffer', () => {
  const history = new SharedHistory(40);
  const bytes = Buffer.alloc(30, 'a');
  history.append(bytes);
  bytes.fill('b');
  expect(history.append(Buffer.alloc(20))!.dictionary.toString()).toBe('a'.repeat(30));
});

test('a dictionary never reaches beyond the window', () => {
  const history = new SharedHistory(2_000);
  history.append(Buffer.alloc(1_990));
  const segment = history.append(Buffer.alloc(20))!;
  expect([9, 10, 15].map((bits) => reach(agreement(bits), segment))).toEqual([512, 1_024, 1_990]);
  expect([9, 10, 15].map((bits) => fullDictionary(agreement(bits), segment).length)).toEqual([
    512, 1_024, 1_990,
  ]);
});

test('a dictionary holds what the recipient has, and for a large message the whole history or nothing', () => {
  const history = new SharedHistory(2_000);
  history.append(Buffer.alloc(1_000));
  const segment = history.append(Buffer.alloc(20))!;
  const lengths = (payloadBytes: number): number[] =>
    [0, 900, 1_000, Infinity].map(
      (from) => dictionaryFrom(payloadBytes, agreement(15), segment, from).length,
    );
  expect(lengths(20)).toEqual([1_000, 100, 0, 0]);
  expect(lengths(10_000)).toEqual([1_000, 0, 0, 0]);
});

test('each dictionary stays what was appended before it, whatever is appended afterwards', () => {
  const history = new SharedHistory(100);
  let all = '';
  const segments = Array.from({ length: 500 }, (_, index) => {
    const payload = String(index).padStart(16 + ((index * 7) % 130), '-');
    const expected = all.slice(-100);
    all += payload;
    return { segment: history.append(Buffer.from(payload))!, expected };
  });
  for (const { segment, expected } of segments) expect(segment.dictionary.toString()).toBe(expected);
});

// Each message of a burst kept a dictionary of its own, 32 KiB for 40 bytes: 10,000 of them took 327 MB.
test('the dictionaries of a burst share their memory', () => {
  const history = new SharedHistory(32_768);
  const buffers = new Set<ArrayBufferLike>();
  for (let count = 0; count < 10_000; count++)
    buffers.add(history.append(Buffer.alloc(40))!.dictionary.buffer);
  const memory = [...buffers].reduce((bytes, { byteLength }) => bytes + byteLength, 0);
  expect(memory).toBeLessThan(2 * 10_000 * 40 + 2 * 2 * 32_768);
});
