import { isBlob, toBuffer, type ImmediateMessage, type WebSocketMessage } from './message.js';

/** Frame opcodes of messages (RFC 6455 §5.2). */
const TEXT = 0x1;
const BINARY = 0x2;
const FIN = 0x80;
/** First bit of an extension: permessage-deflate marks a compressed message with it (RFC 7692 §6). */
const RSV1 = 0x40;
/** Payload lengths up to here fit the 7 bits of the second byte (RFC 6455 §5.2). */
const MAX_LENGTH_7 = 125;
const MAX_LENGTH_16 = 0xffff;

/** Payloads above this are not copied behind their header, but written as a chunk of their own, in bytes. */
export const LARGE_PAYLOAD_BYTES = 64 * 1024;

/** One message in RFC 6455 bytes, unmasked as servers send it: to be written in this order, without a gap. */
export interface Frame {
  readonly chunks: readonly Buffer[];
  readonly byteLength: number;
  readonly payload: Buffer;
}

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
 * A message as one unfragmented frame.
 *
 * Buffers are of exact size and not slices of Node's pool: a slow socket that keeps 64 bytes keeps 64 bytes.
 * Bytes of up to 64 KiB are copied, so that the caller may reuse them at once; larger ones are not.
 *
 * @see RFC 6455 §5.2
 */
export function encodeFrame(message: ImmediateMessage): Frame {
  if (typeof message !== 'string') return frameOf(toBuffer(message), FIN | BINARY);
  const length = Buffer.byteLength(message);
  const offset = headerLength(length);
  const buffer = Buffer.allocUnsafeSlow(offset + length);
  writeHeader(buffer, FIN | TEXT, length);
  buffer.write(message, offset, 'utf8');
  return { chunks: [buffer], byteLength: buffer.length, payload: buffer.subarray(offset) };
}

/** A payload that permessage-deflate has compressed. @see RFC 7692 §7.2.1 */
export function compressedFrame(payload: Buffer, isBinary: boolean): Frame {
  return frameOf(payload, FIN | RSV1 | (isBinary ? BINARY : TEXT));
}

function frameOf(payload: Buffer, firstByte: number): Frame {
  const offset = headerLength(payload.length);
  const isLarge = payload.length > LARGE_PAYLOAD_BYTES;
  const buffer = Buffer.allocUnsafeSlow(isLarge ? offset : offset + payload.length);
  writeHeader(buffer, firstByte, payload.length);
  if (isLarge) return { chunks: [buffer, payload], byteLength: offset + payload.length, payload };
  buffer.set(payload, offset);
  return { chunks: [buffer], byteLength: buffer.length, payload: buffer.subarray(offset) };
}

/** Bytes of a message on the wire when nothing compresses it. */
export function frameLength(message: WebSocketMessage): number {
  const length =
    typeof message === 'string'
      ? Buffer.byteLength(message)
      : isBlob(message)
        ? message.size
        : message.byteLength;
  return headerLength(length) + length;
}
