import { describe, expect, test } from 'vitest';
import { compressedFrame, encodeFrame, type Frame } from '../../src/wire/frame.js';

export const bytesOf = ({ chunks }: Frame): Buffer => Buffer.concat(chunks);

/** Payload length and the header after the first byte. */
export type FrameLength = readonly [length: number, header: readonly number[]];

/** Frames with payloads of these lengths. */
export function describeFrames(lengths: readonly FrameLength[]): void {
  describe.each(lengths)('a payload of %i bytes', (length, header) => {
    const payload = Buffer.alloc(length, 'x');

    test.each([
      ['text', 0x81, () => encodeFrame(payload.toString())],
      ['binary', 0x82, () => encodeFrame(payload)],
      ['compressed text', 0xc1, () => compressedFrame(payload, false)],
      ['compressed binary', 0xc2, () => compressedFrame(payload, true)],
    ] as const)(`${length} bytes of %s are framed as RFC 6455 says`, (_, firstByte, encode) => {
      const frame = encode();
      const bytes = bytesOf(frame);
      const expected = Buffer.from([firstByte, ...header]);
      expect([...bytes.subarray(0, expected.length)]).toEqual([...expected]);
      expect(bytes.subarray(expected.length).equals(payload)).toBe(true);
      expect(frame.byteLength).toBe(expected.length + length);
      expect(frame.payload.equals(payload)).toBe(true);
    });

    test(`a frame of ${length} bytes knows its length on the wire`, () => {
      for (const message of [payload, payload.toString(), new DataView(new ArrayBuffer(length))]) {
        expect(encodeFrame(message).byteLength).toBe(1 + header.length + length);
      }
    });
  });
}
