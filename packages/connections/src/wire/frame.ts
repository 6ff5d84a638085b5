import { toBuffer, type ImmediateMessage } from './message.js';

/** Frame opcodes of messages (RFC 6455 §5.2). */
export const TEXT = 0x1;
export const BINARY = 0x2;
export const FIN = 0x80;
/** First bit of an extension: permessage-deflate marks a compressed message with it (RFC 7692 §6). */
const RSV1 = 0x40;
/** Payload lengths up to here fit the 7 bits of the second byte (RFC 6455 §5.2). */
export const MAX_LENGTH_7 = 125;
export const MAX_LENGTH_16 = 0xffff;

/** Larger payloads are not copied after their header, but written as a chunk of their own, in bytes. */
export const LARGE_PAYLOAD_BYTES = 64 * 1024;

/** One message in RFC 6455 bytes, unmasked as servers send it. */
export class Frame {
  /** To be written in this order, without a gap. */
  readonly chunks: readonly Buffer[];
  readonly byteLength: number;
  readonly payloadLength: number;

  constructor(chunks: readonly Buffer[], payloadLength: number) {
    this.chunks = chunks;
    this.payloadLength = payloadLength;
    this.byteLength = headerLength(payloadLength) + payloadLength;
  }

  get payload(): Buffer {
    const last = this.chunks.at(-1) as Buffer;
    return last.subarray(last.length - this.payloadLength);
  }

  /** The same frame with a payload that nobody else can change. */
  owned(): Frame {
    if (this.chunks.length === 1) return this;
    const [header, payload] = this.chunks as [Buffer, Buffer];
    return new Frame([header, Buffer.from(payload)], this.payloadLength);
  }

  /** Its bytes are ours. A large payload may be the caller's. */
  get isOwned(): boolean {
    return this.chunks.length === 1;
  }

  /** Its payload still has its length: the caller has not transferred or shrunk it. */
  get isIntact(): boolean {
    return this.isOwned || (this.chunks[1] as Buffer).length === this.payloadLength;
  }
}

/** Where the bytes of a frame come from. */
export type Allocate = (byteLength: number) => Buffer;

/** Memory of exactly this size: a slow socket that keeps 64 bytes keeps 64 bytes, not a slab of 8 KiB. */
export const exactBuffer: Allocate = (byteLength) => Buffer.allocUnsafeSlow(byteLength);
/** A slice of Node's pool: much cheaper, for bytes that are written at once and not kept. */
export const pooledBuffer: Allocate = (byteLength) => Buffer.allocUnsafe(byteLength);

function headerLength(payloadLength: number): number {
  return payloadLength <= MAX_LENGTH_7 ? 2 : payloadLength <= MAX_LENGTH_16 ? 4 : 10;
}

function writeHeader(target: Buffer, firstByte: number, payloadLength: number): void {
  target[0] = firstByte;
  if (payloadLength <= MAX_LENGTH_7) {
    target[1] = payloadLength;
  } else if (payloadLength <= MAX_LENGTH_16) {
    target[1] = 126;
    target.writeUInt16BE(payloadLength, 2);
  } else {
    target[1] = 127;
    target.writeUInt32BE(Math.floor(payloadLength / 2 ** 32), 2);
    target.writeUInt32BE(payloadLength >>> 0, 6);
  }
}

/**
 * Encodes a message as one unfragmented frame.
 *
 * Payloads of up to 64 KiB are copied, so that the caller may reuse its buffer at once; larger ones are not.
 *
 * @see RFC 6455 §5.2
 */
export function encodeFrame(message: ImmediateMessage, allocate = exactBuffer): Frame {
  if (typeof message !== 'string') return frameOf(toBuffer(message), FIN | BINARY, allocate);
  const length = Buffer.byteLength(message);
  const offset = headerLength(length);
  const buffer = allocate(offset + length);
  writeHeader(buffer, FIN | TEXT, length);
  buffer.write(message, offset, 'utf8');
  return new Frame([buffer], length);
}

/** Encodes a payload that permessage-deflate has compressed. @see RFC 7692 §7.2.1 */
export function compressedFrame(payload: Buffer, isBinary: boolean): Frame {
  return frameOf(payload, FIN | RSV1 | (isBinary ? BINARY : TEXT), exactBuffer);
}

function frameOf(payload: Buffer, firstByte: number, allocate: Allocate): Frame {
  const offset = headerLength(payload.length);
  const isLarge = payload.length > LARGE_PAYLOAD_BYTES;
  const buffer = allocate(isLarge ? offset : offset + payload.length);
  writeHeader(buffer, firstByte, payload.length);
  if (isLarge) return new Frame([buffer, payload], payload.length);
  buffer.set(payload, offset);
  return new Frame([buffer], payload.length);
}

/** Joins small chunks of frames into one buffer; a larger one stays a chunk of its own, uncopied. */
export function gather(
  frames: readonly Pick<Frame, 'chunks'>[],
  maxJoinedBytes = LARGE_PAYLOAD_BYTES + MAX_HEADER_BYTES,
): readonly Buffer[] {
  const chunks: Buffer[] = [];
  let small: Buffer[] = [];
  const join = (): void => {
    if (small.length > 0) chunks.push(small.length === 1 ? (small[0] as Buffer) : concat(small, exactBuffer));
    small = [];
  };
  for (const frame of frames) {
    for (const chunk of frame.chunks) {
      if (chunk.length <= maxJoinedBytes) {
        small.push(chunk);
      } else {
        join();
        chunks.push(chunk);
      }
    }
  }
  join();
  return chunks;
}

/** Longest header of an unmasked frame, in bytes (RFC 6455 §5.2). */
const MAX_HEADER_BYTES = 10;

export function concat(parts: readonly Buffer[], allocate: Allocate): Buffer {
  const joined = allocate(totalLength(parts));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

export function totalLength(parts: readonly Buffer[]): number {
  let total = 0;
  for (const { length } of parts) total += length;
  return total;
}
