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
  // A stalled reader would keep the whole buffer.
  expect(isCut(small, false)).toBe(false);
  expect(bytes(small)).toBe('\x81\x01b');
});

test('the plain bytes that a closing connection gets during a compression are not kept for the others', async () => {
  const entries = entriesOf(['x'.repeat(20_000)]);
  const slice = new Slice(entries);
  const ready = new Promise<void>((resolve) => entries[0]!.envelope.prepare([STATELESS], [], false, resolve));
  expect([slice.isWaiting(0), slice.isWaiting(50)]).toEqual([true, false]);
  expect(slice.encoded(STATELESS, undefined).byteLength).toBe(20_004);
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
