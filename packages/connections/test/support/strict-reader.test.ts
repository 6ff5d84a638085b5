import { constants, deflateRawSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { StrictReader } from './strict-reader.js';

const DEFLATE = 'permessage-deflate; server_max_window_bits=9';

/** A frame with a length of up to 125 bytes. */
function frame(firstByte: number, payload: string | readonly number[] = ''): Buffer {
  const bytes = Buffer.from(payload as string);
  return Buffer.concat([Buffer.from([firstByte, bytes.length]), bytes]);
}

function deflated(text: string, dictionary?: string): Buffer {
  const options = {
    finishFlush: constants.Z_SYNC_FLUSH,
    ...(dictionary !== undefined && { dictionary: Buffer.from(dictionary) }),
  };
  return deflateRawSync(text, options).subarray(0, -4);
}

function read(bytes: readonly (Buffer | readonly number[])[], extensions = ''): StrictReader {
  const reader = new StrictReader(extensions);
  reader.read(Buffer.concat(bytes.map((part) => Buffer.from(part))));
  return reader;
}

const bigLength = (length: bigint): Buffer => {
  const header = Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 0, 0, 0]);
  header.writeBigUInt64BE(length, 2);
  return header;
};

const violations: [what: string, bytes: (Buffer | readonly number[])[], message: string, extensions?: string][] =
  [
    ['a masked frame', [[0x81, 0x81, 0, 0, 0, 0, 65]], 'A masked frame of a server'],
    ['16 bits for a length of 125', [[0x82, 126, 0, 125]], 'A length of 125 written in 2 bytes'],
    ['64 bits for a length of 65,535', [bigLength(65_535n)], 'A length of 65535 written in 8 bytes'],
    ['a length above 2^63', [bigLength(2n ** 63n)], 'A length that no message has'],
    ['RSV2', [frame(0xa1)], 'A bit of an extension that nobody has agreed to'],
    ['RSV3', [frame(0x91)], 'A bit of an extension that nobody has agreed to'],
    ['RSV1 without an agreement', [frame(0xc1, 'x')], 'A compressed message that nobody has agreed to'],
    ['RSV1 on a continuation', [frame(0x41, 'x'), frame(0xc0, 'x')], 'A compressed continuation', DEFLATE],
    ['RSV1 on a ping', [frame(0xc9)], 'A compressed control frame', DEFLATE],
    ['an unknown data opcode', [frame(0x83)], 'The opcode 3'],
    ['an unknown control opcode', [frame(0x8b)], 'The opcode 11'],
    ['a continuation of nothing', [frame(0x80)], 'A continuation of no message'],
    ['a message inside another', [frame(0x01, 'x'), frame(0x81, 'y')], 'A message inside another one'],
    ['a ping in fragments', [frame(0x09)], 'A control frame in fragments'],
    ['a ping of 126 bytes', [[0x89, 126, 0, 126], Buffer.alloc(126)], 'A control frame of 126 bytes'],
    ['a close code of one byte', [frame(0x88, [3])], 'A close code of one byte'],
    ['the close code 999', [frame(0x88, [3, 0xe7])], 'The close code 999'],
    ['the close code 1005', [frame(0x88, [3, 0xed])], 'The close code 1005'],
    ['the close code 1015', [frame(0x88, [3, 0xf7])], 'The close code 1015'],
    ['the close code 2999', [frame(0x88, [0x0b, 0xb7])], 'The close code 2999'],
    ['the close code 5000', [frame(0x88, [0x13, 0x88])], 'The close code 5000'],
    ['a reason that is not UTF-8', [frame(0x88, [3, 0xe8, 0xff])], 'A reason that is not UTF-8'],
    ['a message after the close frame', [frame(0x88), frame(0x81, 'x')], 'A frame after a close frame'],
    ['half a frame after the close frame', [frame(0x88), [0x81]], 'Bytes after a close frame'],
    ['text that is not UTF-8', [frame(0x81, [0xc3])], 'Text that is not UTF-8'],
    ['a reference to what was never sent', [frame(0xc1, [...deflated('a known text', 'x a known text')])],
      'A reference 12 back: 0 of 512 are there', DEFLATE],
  ]; // prettier-ignore

test.each(violations)('the strict reader rejects %s', (_, bytes, message, extensions) => {
  expect(read(bytes, extensions).violation?.message).toBe(message);
});

test('the strict reader rejects compressed text that is not UTF-8', () => {
  const payload = deflateRawSync(Buffer.from([0xff, 0xfe]), { finishFlush: constants.Z_SYNC_FLUSH });
  const reader = read([frame(0xc1, [...payload.subarray(0, -4)])], DEFLATE);
  expect(reader.violation?.message).toBe('Text that is not UTF-8');
});

test('the strict reader takes every legal frame, however the bytes are cut', () => {
  const large = Buffer.alloc(65_536, 'x');
  const bytes = Buffer.concat([
    frame(0x81, 'plain'),
    frame(0xc1, [...deflated('compressed, compressed')]),
    frame(0xc1, [...deflated('compressed', 'compressed, compressed')]),
    frame(0x02, [0xff]),
    frame(0x89, 'ping'),
    frame(0x00, [0xfe]),
    frame(0x80),
    Buffer.concat([Buffer.from([0x82, 126, 0, 126]), Buffer.alloc(126, 'y')]),
    Buffer.concat([bigLength(65_536n), large]),
    frame(0x8a),
    frame(0x88, [0x0f, 0xa0, 0xc3, 0xbc]),
  ]);
  // The long message is cut less often.
  const end = 300;
  for (const step of [1, 7, end]) {
    const reader = new StrictReader(DEFLATE);
    for (let at = 0; at < end; at += step) reader.read(bytes.subarray(at, Math.min(end, at + step)));
    reader.read(bytes.subarray(end, end + 40_000));
    for (let at = end + 40_000; at < bytes.length; at += 9_000) reader.read(bytes.subarray(at, at + 9_000));
    expect(reader.violation).toBeUndefined();
    expect(reader.messages.map(({ message }) => message.toString('latin1').slice(0, 30))).toEqual([
      'plain',
      'compressed, compressed',
      'compressed',
      '\xff\xfe',
      'y'.repeat(30),
      'x'.repeat(30),
    ]);
    expect(reader.messages.map((message) => message.isCompressed)).toEqual([
      false,
      true,
      true,
      false,
      false,
      false,
    ]);
    expect(reader.messages[2]!.reachBytes).toBeGreaterThan(0);
  }
});

test.each([1000, 1003, 1007, 1014, 3000, 4999])('the strict reader takes the close code %i', (code) => {
  expect(read([frame(0x88, [code >> 8, code & 0xff])]).violation).toBeUndefined();
});
