const TEXT = 0x1;
const FIN = 0x80;
const RSV1 = 0x40;
const OPCODE = 0x0f;

/** One message in a buffer. */
export interface MessageFrame {
  readonly isCompressed: boolean;
  readonly start: number;
  /** Where the next frame starts. */
  readonly end: number;
}

/**
 * The frame that starts there, or `undefined` when a part of it is still missing.
 *
 * @throws {Error} it is no whole text message: nothing else is sent in a round
 * @see RFC 6455 §5.2
 */
export function frameAt(buffer: Buffer, offset: number, limit: number): MessageFrame | undefined {
  if (limit - offset < 2) return undefined;
  const first = buffer[offset] as number;
  const short = buffer[offset + 1] as number;
  if ((first & ~RSV1) !== (FIN | TEXT)) {
    throw new Error(`Expected a text message, got a frame of opcode ${first & OPCODE} (first byte ${first})`);
  }
  const headerLength = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (limit - offset < headerLength) return undefined;
  const length =
    short < 126
      ? short
      : short === 126
        ? buffer.readUInt16BE(offset + 2)
        : Number(buffer.readBigUInt64BE(offset + 2));
  const start = offset + headerLength;
  const end = start + length;
  if (end > limit) return undefined;
  return { isCompressed: (first & RSV1) !== 0, start, end };
}

/** A client's text frame, masked with zeros: the mask must be there, and none is quicker. */
export function maskedTextFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  if (payload.length > 0xffff) throw new RangeError('Clients send at most 65535 bytes');
  const mask = Buffer.alloc(4);
  const header =
    payload.length < 126
      ? Buffer.of(FIN | TEXT, 0x80 | payload.length)
      : Buffer.of(FIN | TEXT, 0x80 | 126, payload.length >> 8, payload.length & 255);
  return Buffer.concat([header, mask, payload]);
}
