/** FIN and the opcode of a text or a binary message: RFC 6455 §5.2. */
const FIN_TEXT = 0x81;
const FIN_BINARY = 0x82;
const RSV1 = 0x40;
const MASKED = 0x80;
const ZERO_MASK = Buffer.alloc(4);

/** A server's text message, of at most 65,535 bytes. */
export function textFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  return Buffer.concat([headerOf(FIN_TEXT, payload.length, 0), payload]);
}

/** A server's binary message, of at most 65,535 bytes. */
export function binaryFrame(payload: Buffer): Buffer {
  return Buffer.concat([headerOf(FIN_BINARY, payload.length, 0), payload]);
}

/** A text message of a client, masked with zeros: unmasking it costs the same. */
export function maskedTextFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  return Buffer.concat([headerOf(FIN_TEXT, payload.length, MASKED), ZERO_MASK, payload]);
}

function headerOf(first: number, length: number, mask: number): Buffer {
  if (length > 0xffff) throw new RangeError(`Expected at most 65,535 bytes, got ${length}`);
  if (length < 126) return Buffer.of(first, mask | length);
  return Buffer.of(first, mask | 126, length >> 8, length & 0xff);
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
 * @throws {Error} it is not an unfragmented text message of at most 65,535 bytes: nothing else is sent in a round
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
