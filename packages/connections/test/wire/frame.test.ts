import { once } from 'node:events';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { encodeFrame, gather } from '../../src/wire/frame.js';
import { bytesOf, describeFrames, type FrameLength } from '../support/describe-frames.js';
import { digest } from '../support/engine.js';
import { Random } from '../support/random.js';
import { runs } from '../support/runs.js';

/** Payload length and the header after the first byte, derived by hand from RFC 6455 §5.2. A longer one is in `frame.whole.test.ts`. */
const LENGTHS: readonly FrameLength[] = [
  [0, [0]],
  [1, [1]],
  [125, [125]],
  [126, [126, 0, 126]],
  [127, [126, 0, 127]],
  [65_535, [126, 0xff, 0xff]],
  [65_536, [127, 0, 0, 0, 0, 0, 1, 0, 0]],
  [70_000, [127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]],
];

type ReceiverClass = new (options: object) => Writable;
const require = createRequire(import.meta.url);
// The package does not export it.
const Receiver = require(path.join(path.dirname(require.resolve('ws')), 'lib/receiver.js')) as ReceiverClass;

describeFrames(LENGTHS);

test('a frame has a buffer of exact size, so that a slow reader keeps no slice of a shared pool', () => {
  for (const [length, header] of LENGTHS.filter(([bytes]) => bytes <= 65_536)) {
    const text = 'x'.repeat(length);
    for (const { chunks } of [encodeFrame(text), encodeFrame(Buffer.from(text))]) {
      expect(chunks.map(({ buffer }) => buffer.byteLength)).toEqual([1 + header.length + length]);
    }
  }
});

test('a frame holds a copy of up to 64 KiB, and the bytes of the caller above', () => {
  for (const [length, isCopied] of [
    [65_536, true],
    [65_537, false],
  ] as const) {
    const bytes = Buffer.alloc(length, 1);
    const frame = encodeFrame(bytes);
    bytes.fill(2);
    expect(frame.payload[0]).toBe(isCopied ? 1 : 2);
    expect(bytesOf(frame).at(-1)).toBe(isCopied ? 1 : 2);
  }
});

test('a frame holds the part that a view shows, and nothing around it', () => {
  const { buffer } = Uint8Array.from([9, 9, 1, 2, 3, 4, 9, 9]);
  for (const view of [
    new Uint8Array(buffer, 2, 4),
    new DataView(buffer, 2, 4),
    new Uint16Array(buffer, 2, 2),
  ])
    expect([...bytesOf(encodeFrame(view))]).toEqual([0x82, 4, 1, 2, 3, 4]);
});

test.each([
  ['two bytes', 'é', [0xc3, 0xa9]],
  ['three bytes', '€', [0xe2, 0x82, 0xac]],
  ['a surrogate pair', '𝄞', [0xf0, 0x9d, 0x84, 0x9e]],
  ['a lone high surrogate', 'a\ud834b', [0x61, 0xef, 0xbf, 0xbd, 0x62]],
  ['a lone low surrogate', '\udd1e', [0xef, 0xbf, 0xbd]],
  ['surrogates the wrong way round', '\udd1e\ud834', [0xef, 0xbf, 0xbd, 0xef, 0xbf, 0xbd]],
])('text of %s is framed as UTF-8', (_, text, bytes) => {
  expect([...bytesOf(encodeFrame(text))]).toEqual([0x81, bytes.length, ...bytes]);
});

test('the receiver of ws reads random frames back, however they are cut', async () => {
  const random = new Random(1);
  const receiver = new Receiver({ isServer: false });
  const received: string[] = [];
  receiver.on('message', (data: Buffer, isBinary: boolean) => {
    received.push(digest(isBinary ? data : data.toString()));
  });
  const expected: string[] = [];
  for (let i = 0; i < runs({ quick: 60, ci: 300 }); i++) {
    const bytes = random.bytes(random.below(random.pick([3, 130, 300, 70_000])), true);
    const message = random.chance(0.5) ? bytes : bytes.toString();
    expected.push(digest(message));
    const frame = bytesOf(encodeFrame(message));
    const at = random.below(frame.length + 1);
    receiver.write(frame.subarray(0, at));
    receiver.write(frame.subarray(at));
  }
  receiver.end();
  await once(receiver, 'finish');
  expect(received).toEqual(expected);
});

test('an owned frame keeps its bytes when the caller changes the buffer', () => {
  const bytes = Buffer.alloc(70_000, 1);
  const [frame, owned] = [encodeFrame(bytes), encodeFrame(bytes).owned()];
  bytes.fill(2);
  expect([frame.payload[0], owned.payload[0]]).toEqual([2, 1]);
  expect(owned.byteLength).toBe(frame.byteLength);
  const small = encodeFrame(Buffer.from('small'));
  expect(small.owned()).toBe(small);
});

test('a frame whose payload was transferred after the call is no longer intact', () => {
  const large = new ArrayBuffer(70_000);
  const frame = encodeFrame(large);
  expect(frame.isIntact).toBe(true);
  structuredClone(large, { transfer: [large] });
  expect(frame.isIntact).toBe(false);
});

test('small frames are gathered into one buffer, and a large payload stays a chunk of its own, uncopied', () => {
  const large = Buffer.alloc(70_000, 7);
  const frames = ['a', large, 'b', 'c'].map((message) => encodeFrame(message));
  const chunks = gather(frames);
  expect(chunks.map(({ length }) => length)).toEqual([3 + 10, 70_000, 6]);
  expect(chunks[1]!.buffer).toBe(large.buffer);
  expect(Buffer.concat(chunks).equals(Buffer.concat(frames.map(bytesOf)))).toBe(true);
  expect(gather([])).toEqual([]);
});
