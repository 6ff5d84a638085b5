import { expect, test } from 'vitest';
import { newCounters } from '../../src/counters.js';
import { Envelope } from '../../src/sending/envelope.js';
import { PLAIN } from '../../src/wire/encoding.js';
import { encodeFrame, type Frame } from '../../src/wire/frame.js';
import { SharedHistory } from '../../src/wire/shared-history.js';
import { STATELESS } from '../support/entries.js';
import { holdDeflate } from '../support/zlib-spies.js';

const ENCODING = { agreement: STATELESS, from: undefined };
const SHARING = { ...STATELESS, isStateless: false };
/** More is compressed in the thread pool. */
const SYNC_BYTES = 8 * 1024;

const ignore = (): void => undefined;
const isReady = (envelope: Envelope): Promise<void> =>
  new Promise((resolve) => envelope.prepare([STATELESS], [], false, resolve));

test('an envelope is binary unless its message is a string, and its length is that of its frame', () => {
  const text = new Envelope('abc');
  const bytes = new Envelope(Uint8Array.of(1, 2));
  const blob = new Envelope(new Blob(['12345']));
  const other = new Envelope({ for: 'a handler' });
  expect([text, bytes, blob, other].map(({ isBinary }) => isBinary)).toEqual([false, true, true, true]);
  expect([text, bytes, blob, other].map(({ byteLength }) => byteLength)).toEqual([5, 4, 5, 0]);
  expect([blob.frame, other.frame]).toEqual([undefined, undefined]);
});

test('what another node has framed is decoded to a string or a Buffer', () => {
  const text = Envelope.received(encodeFrame('abc'), false);
  const bytes = Envelope.received(encodeFrame(Uint8Array.of(1, 2)), true);
  expect([text.isBinary, text.message, text.body, text.deferredMessage]).toEqual([
    false,
    'abc',
    'abc',
    'abc',
  ]);
  expect([bytes.isBinary, bytes.message, bytes.body]).toEqual([true, Buffer.of(1, 2), Buffer.of(1, 2)]);
});

test('a message for later has the type of the original and its bytes at the time of the call, once for everybody', () => {
  const original = Uint16Array.of(1, 2);
  const envelope = new Envelope(original);
  original.fill(9);
  expect(envelope.message).toBe(original);
  expect(envelope.deferredMessage).toEqual(Uint16Array.of(1, 2));
  expect(envelope.deferredMessage).toBe(envelope.deferredMessage);
  expect(envelope.body).toEqual(Buffer.from(Uint16Array.of(1, 2).buffer));
});

test.each([new Blob(['b']), { for: 'a handler' }])(
  'a message without a frame is passed on as it is: %o',
  (message) => {
    const envelope = new Envelope(message);
    expect(
      [envelope.message, envelope.body, envelope.deferredMessage].every((passed) => passed === message),
    ).toBe(true);
    envelope.enter(new SharedHistory(1_000));
    envelope.compress(STATELESS);
    expect(envelope.segment).toBeUndefined();
    expect(envelope.prepare([STATELESS], [SHARING], true, ignore)).toBe(0);
  },
);

test('a message that enters the history can no longer be changed by its caller', () => {
  const payload = Buffer.alloc(100_000, 'a');
  const envelope = new Envelope(payload);
  envelope.enter(new SharedHistory(1_000));
  payload.fill('b');
  expect(envelope.frame?.payload.includes('b')).toBe(false);
  expect(envelope.segment).toMatchObject({ start: 0, end: 100_000 });
});

test('a small message is compressed when its frame is asked for, once, and counted', () => {
  const counters = newCounters();
  const envelope = new Envelope('x'.repeat(SYNC_BYTES));
  envelope.countIn(counters);
  expect(envelope.prepare([STATELESS], [SHARING], true, ignore)).toBe(0);
  expect([envelope.needsPreparation(ENCODING), envelope.isCompressing]).toEqual([false, false]);
  const frame = envelope.frameFor(ENCODING);
  expect(frame.byteLength).toBeLessThan(100);
  expect(envelope.frameFor(ENCODING)).toBe(frame);
  expect(envelope.frameFor(PLAIN)).toBe(envelope.frame);
  const once = { compressions: 1, compressedMessages: 1, compressedBytesIn: SYNC_BYTES };
  expect(counters).toMatchObject({ ...once, compressedBytesOut: frame.payloadLength });
});

test('a message that is compressed in two ways counts as one compressed message', () => {
  const counters = newCounters();
  const envelope = new Envelope('x'.repeat(1_000));
  envelope.countIn(counters);
  for (const level of [1, 9]) envelope.compress({ ...STATELESS, level });
  expect(counters).toMatchObject({ compressedMessages: 1, compressions: 2, compressedBytesIn: 2_000 });
});

test('agreements with other windows share the bytes of a small message, those with another level do not', () => {
  const envelope = new Envelope('x'.repeat(100));
  const frame = envelope.frameFor(ENCODING);
  const frameWith = (options: object): Frame =>
    envelope.frameFor({ agreement: { ...STATELESS, ...options }, from: undefined });
  expect(frameWith({ windowBits: 12 })).toBe(frame);
  expect(frameWith({ level: 1 })).not.toBe(frame);
});

test('a message goes out plain where compression is not agreed, does not pay, or is below the threshold', () => {
  const incompressible = new Envelope('q');
  expect(incompressible.frameFor(ENCODING)).toBe(incompressible.frame);
  const envelope = new Envelope('x'.repeat(1_000));
  const above = { agreement: { ...STATELESS, thresholdBytes: 1_001 }, from: undefined };
  const exact = { agreement: { ...STATELESS, thresholdBytes: 1_000 }, from: undefined };
  expect(envelope.frameFor(above)).toBe(envelope.frame);
  expect(envelope.frameFor(exact).byteLength).toBeLessThan(100);
});

test('a large message is compressed in the background, once, and goes out plain until that is done', async () => {
  const { release } = holdDeflate();
  const counters = newCounters();
  const envelope = new Envelope('x'.repeat(SYNC_BYTES + 1));
  envelope.countIn(counters);
  expect([envelope.needsPreparation(PLAIN), envelope.needsPreparation(ENCODING)]).toEqual([false, true]);
  const ready = isReady(envelope);
  expect(envelope.prepare([STATELESS], [], false, ignore)).toBe(0);
  expect([envelope.isCompressing, envelope.needsPreparation(ENCODING)]).toEqual([true, true]);
  expect(envelope.frameFor(ENCODING)).toBe(envelope.frame);
  expect(counters.compressions).toBe(0);
  release();
  await ready;
  expect([envelope.isCompressing, envelope.needsPreparation(ENCODING)]).toEqual([false, false]);
  expect(envelope.frameFor(ENCODING).byteLength).toBeLessThan(100);
  expect(counters).toMatchObject({ compressions: 1, compressedMessages: 1 });
});

test('a large message below the threshold of an agreement is not compressed, and needs no preparation', () => {
  const envelope = new Envelope('x'.repeat(SYNC_BYTES + 1));
  const agreement = { ...STATELESS, thresholdBytes: 10_000 };
  expect(envelope.needsPreparation({ agreement, from: undefined })).toBe(false);
  expect(envelope.prepare([agreement], [], false, ignore)).toBe(0);
});

test('a large message of which one of two compressions is done is still being compressed', async () => {
  const counters = newCounters();
  const envelope = new Envelope('x'.repeat(20_000));
  envelope.countIn(counters);
  const seen: unknown[] = [];
  await new Promise<void>((resolve) => {
    const onReady = (): void => {
      seen.push([envelope.isCompressing, counters.compressedMessages, counters.compressions]);
      if (seen.length === 2) resolve();
    };
    envelope.prepare([STATELESS, { ...STATELESS, level: 1 }], [], false, onReady);
  });
  expect(seen).toEqual([
    [true, 1, 1],
    [false, 1, 2],
  ]);
});

test('a large message that nobody has prepared is not compressed while everybody waits', () => {
  const envelope = new Envelope('x'.repeat(20_000));
  expect(envelope.frameFor(ENCODING)).toBe(envelope.frame);
  expect(envelope.isCompressing).toBe(false);
});

test('what is compressed after its time has ended is neither used nor counted', async () => {
  const { release, spy } = holdDeflate();
  const counters = newCounters();
  const envelope = new Envelope('x'.repeat(SYNC_BYTES + 1));
  envelope.countIn(counters);
  let calls = 0;
  envelope.prepare([STATELESS], [], false, () => calls++);
  envelope.endCompression();
  expect(envelope.isCompressing).toBe(false);
  const other = new Envelope('y'.repeat(SYNC_BYTES + 1));
  const ready = isReady(other);
  release();
  await ready;
  expect(spy).toHaveBeenCalledTimes(2);
  expect([calls, counters.compressions]).toEqual([0, 0]);
  expect(envelope.frameFor(ENCODING)).toBe(envelope.frame);
});

test('a large message of a history is compressed after it, and on its own only if some member is behind', () => {
  holdDeflate();
  const history = new SharedHistory(10_000);
  new Envelope('before'.repeat(100)).enter(history);
  const [inStep, behind, foreign] = ['a', 'b', 'c'].map(
    (letter) => new Envelope(letter.repeat(SYNC_BYTES + 1)),
  );
  for (const envelope of [inStep, behind]) envelope!.enter(history);
  expect(inStep!.prepare([], [SHARING], false, ignore)).toBe(1);
  expect(behind!.prepare([], [SHARING], true, ignore)).toBe(2);
  expect(foreign!.prepare([], [SHARING], false, ignore)).toBe(1);
});

test('a small message of a history refers to what its reader holds, and is compressed ahead for those in step', () => {
  const history = new SharedHistory(10_000);
  const text = Array.from({ length: 200 }, (_, i) => `${i * 7_919} `).join('');
  new Envelope(text).enter(history);
  const counters = newCounters();
  const envelope = new Envelope(text);
  envelope.enter(history);
  envelope.countIn(counters);
  envelope.compress(SHARING);
  expect(counters.compressions).toBe(1);
  const segment = envelope.segment!;
  const inStep = envelope.frameAfter(SHARING, segment, 0)!;
  expect(counters.compressions).toBe(1);
  const alone = envelope.frameAfter(SHARING, segment, segment.start)!;
  expect(inStep.byteLength).toBeLessThan(50);
  expect(alone.byteLength).toBeGreaterThan(300);
});

test('a message that cannot be compressed ahead because zlib fails does not throw there', () => {
  const envelope = new Envelope('x'.repeat(100));
  expect(() => envelope.compress({ ...STATELESS, memLevel: 99 })).not.toThrow();
  expect(() => envelope.frameFor({ agreement: { ...STATELESS, memLevel: 99 }, from: undefined })).toThrow(
    RangeError,
  );
});
