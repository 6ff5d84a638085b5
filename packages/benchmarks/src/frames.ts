/** FIN and the opcode of a text message: RFC 6455 §5.2. */
const FIN_TEXT = 0x81;
const RSV1 = 0x40;
const MASKED = 0x80;
const ZERO_MASK = Buffer.alloc(4);

/** A server's text message, of at most 65,535 bytes. */
export function textFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  return Buffer.concat([headerOf(payload.length, 0), payload]);
}

/** A client's, masked with zeros: to unmask it costs the same. */
export function maskedTextFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  return Buffer.concat([headerOf(payload.length, MASKED), ZERO_MASK, payload]);
}

function headerOf(length: number, mask: number): Buffer {
  if (length > 0xffff) throw new RangeError(`Expected at most 65,535 bytes, got ${length}`);
  if (length < 126) return Buffer.of(FIN_TEXT, mask | length);
  return Buffer.of(FIN_TEXT, mask | 126, length >> 8, length & 0xff);
}

export interface MessageFrame {
  readonly isCompressed: boolean;
  readonly start: number;
  /** Where the next frame starts. */
  readonly end: number;
}

/**
 * The frame of a server that starts there, or `undefined` if its end has not arrived.
 *
 * @throws {Error} it is no whole text message of at most 65,535 bytes: nothing else is sent in a round
 */
export function frameAt(buffer: Buffer, offset: number, limit: number): MessageFrame | undefined {
  if (limit - offset < 4) return undefined;
  const first = buffer[offset] as number;
  const short = buffer[offset + 1] as number;
  if ((first & ~RSV1) !== FIN_TEXT || short > 126) {
    throw new Error(`Expected a text message, got a frame that starts with ${first} and ${short}`);
  }
  const start = offset + (short < 126 ? 2 : 4);
  const end = start + (short < 126 ? short : buffer.readUInt16BE(offset + 2));
  return end > limit ? undefined : { isCompressed: (first & RSV1) !== 0, start, end };
}
