import { expect, test } from 'vitest';
import { isLost, Slice } from '../../src/sending/slice.js';
import { entriesOf, STATELESS } from '../support/entries.js';

const bytes = (slice: Slice, mayPin = false): string =>
  Buffer.concat(slice.encoded(undefined, undefined, mayPin).chunks).toString('latin1');

test('a slice puts its frames together once, one after the other', () => {
  const slice = new Slice(entriesOf(['a', 'bb']));
  expect([slice.byteLength, slice.isWritable]).toEqual([7, true]);
  expect(bytes(slice)).toBe('\x81\x01a\x81\x02bb');
  expect(slice.encoded(undefined, undefined)).toBe(slice.encoded(undefined, undefined));
  expect(slice.encoded(STATELESS, undefined)).not.toBe(slice.encoded(undefined, undefined));
  expect(slice.encoded(STATELESS, undefined)).toBe(slice.encoded(STATELESS, undefined));
});

test('a slice with a Blob has no frames', () => {
  expect(new Slice(entriesOf(['a', new Blob(['b'])])).isWritable).toBe(false);
});

test('a part is cut out of the whole if its recipient has nothing waiting, or if the part is at least half of the whole', () => {
  const entries = entriesOf(['aaaa', 'b', 'cccc']);
  const whole = new Slice(entries);
  const [small, large] = [new Slice(entries.slice(1, 2)), new Slice(entries.slice(1))];
  small.cutFrom(whole, 1);
  large.cutFrom(whole, 1);
  const { buffer } = whole.encoded(undefined, undefined).chunks[0]!;
  const isCut = (slice: Slice, mayPin: boolean): boolean =>
    slice.encoded(undefined, undefined, mayPin).chunks[0]!.buffer === buffer;
  expect([isCut(small, true), isCut(large, true), isCut(large, false)]).toEqual([true, true, true]);
  expect([bytes(small, true), bytes(large, true)]).toEqual(['\x81\x01b', '\x81\x01b\x81\x04cccc']);
  // It is exactly half of the whole.
  const half = new Slice(entriesOf(['dddd', 'eeee']));
  const second = new Slice(half.entries.slice(1));
  second.cutFrom(half, 1);
  expect(second.encoded(undefined, undefined).chunks[0]!.buffer).toBe(
    half.encoded(undefined, undefined).chunks[0]!.buffer,
  );
  // A stalled reader would keep the whole buffer.
  expect(isCut(small, false)).toBe(false);
  expect(bytes(small)).toBe('\x81\x01b');
});

test('the part of a whole that is in several buffers is put together on its own', () => {
  const entries = entriesOf(['a', new Uint8Array(100_000).fill(7), 'b', 'c']);
  const whole = new Slice(entries);
  expect(whole.encoded(undefined, undefined).chunks.length).toBeGreaterThan(1);
  const part = new Slice(entries.slice(2));
  part.cutFrom(whole, 2);
  expect(bytes(part, true)).toBe('\x81\x01b\x81\x01c');
});

test('a part is cut out once for each encoding, one after the other', () => {
  const entries = entriesOf(['x'.repeat(200), 'y'.repeat(200), 'z'.repeat(200)]);
  const whole = new Slice(entries);
  const part = new Slice(entries.slice(1));
  part.cutFrom(whole, 1);
  const plain = part.encoded(undefined, undefined, true);
  expect(part.encoded(undefined, undefined, true)).toBe(plain);
  const compressed = part.encoded(STATELESS, undefined, true);
  expect([plain.byteLength, compressed.byteLength < 100]).toEqual([2 * 204, true]);
  expect(part.encoded(STATELESS, undefined, true)).toBe(compressed);
  expect(part.encoded(undefined, undefined, true).byteLength).toBe(2 * 204);
});

test('a part of which a message is still being compressed is not kept', async () => {
  const entries = entriesOf(['a', 'x'.repeat(20_000), 'b']);
  const part = new Slice(entries.slice(1));
  part.cutFrom(new Slice(entries), 1);
  const ready = new Promise<void>((resolve) => entries[1]!.envelope.prepare([STATELESS], [], false, resolve));
  expect(part.encoded(STATELESS, undefined, true).byteLength).toBe(20_007);
  await ready;
  expect(part.encoded(STATELESS, undefined, true).byteLength).toBeLessThan(1_000);
});

test('many messages for everybody are one buffer, and many for some are not put together for the first who asks', () => {
  const entries = entriesOf(Array<string>(20).fill('x'.repeat(1_000)));
  expect(new Slice(entries).encoded(undefined, undefined).chunks).toHaveLength(1);
  const picked = new Slice(entries, true);
  expect(picked.encoded(undefined, undefined).chunks).toHaveLength(20);
  // They are too large to be copied: the second who asks gets the same chunks, and so does the third.
  const second = picked.encoded(undefined, undefined);
  expect(second.chunks).toHaveLength(20);
  expect(picked.encoded(undefined, undefined)).toBe(second);
});

test('messages for some of exactly 16 KiB are put together, and larger ones are not', () => {
  const chunksOf = (bytes: number): number => {
    // The header of each takes 4 bytes.
    const entries = entriesOf(Array<string>(16).fill('x'.repeat(bytes - 4)));
    return new Slice(entries, true).encoded(undefined, undefined).chunks.length;
  };
  expect([chunksOf(1_024), chunksOf(1_025)]).toEqual([1, 16]);
});

test('the plain bytes that a closing connection gets during a compression are not kept for the others', async () => {
  const entries = entriesOf(['x'.repeat(20_000), 'y']);
  const slice = new Slice(entries);
  const ready = new Promise<void>((resolve) => entries[0]!.envelope.prepare([STATELESS], [], false, resolve));
  expect([slice.isWaiting(0), slice.isWaiting(50)]).toEqual([true, false]);
  expect(slice.encoded(STATELESS, undefined).byteLength).toBe(20_007);
  await ready;
  expect(slice.isWaiting(0)).toBe(false);
  expect(slice.encoded(STATELESS, undefined).byteLength).toBeLessThan(1_000);
});

test('a slice cannot be written any more once a large payload of it was transferred', () => {
  const large = new ArrayBuffer(100_000);
  const entries = entriesOf(['a', large, 'b'], 4);
  const slice = new Slice(entries);
  expect(slice.isWritable).toBe(true);
  slice.encoded(undefined, undefined);
  structuredClone(large, { transfer: [large] });
  expect(entries.map(({ envelope }) => isLost(envelope))).toEqual([false, true, false]);
  expect(slice.isWritable).toBe(false);
});

test('a slice counts its recipients once, for each of its messages', async () => {
  const entries = entriesOf(['a', 'b'], 4);
  const slice = new Slice(entries);
  slice.recipients = 2;
  slice.countRecipients();
  slice.countRecipients();
  slice.count('sent');
  slice.count('dropped');
  const result = { recipients: 4, sent: 3, dropped: 1, failed: 0, conflated: 0 };
  expect(await Promise.all(entries.map(({ delivery }) => delivery.result()))).toEqual([result, result]);
});
