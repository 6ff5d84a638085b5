import { isUtf8 } from 'node:buffer';
import { BINARY, FIN, Frame, MAX_LENGTH_16, MAX_LENGTH_7, TEXT } from '../wire/frame.js';
import { WireError } from './bytes.js';

/** First bytes of what nodes exchange: whole messages, no extension (RFC 6455 §5.2). */
const TEXT_START = FIN | TEXT;
const BINARY_START = FIN | BINARY;

/** Whether the frame carries a binary message. */
export function isBinaryFrame({ chunks }: Frame): boolean {
  return chunks[0]?.[0] === BINARY_START;
}

/**
 * Takes a run of frames apart. They are copied once, into memory of exactly that size: a view would keep the whole
 * chunk that the broker's socket has read.
 *
 * @throws {WireError} one of them is not a whole text or binary message as a server sends it: our clients would close
 */
export function framesFrom(run: Buffer): Frame[] {
  const bytes = Buffer.allocUnsafeSlow(run.length);
  bytes.set(run);
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.length;) {
    const [header, length] = headerAt(bytes, at);
    const end = at + header + length;
    if (end > bytes.length) throw new WireError('The end of a frame is missing');
    const frame = new Frame([bytes.subarray(at, end)], length);
    if (bytes[at] === TEXT_START && !isUtf8(frame.payload)) throw new WireError('A text is not UTF-8');
    frames.push(frame);
    at = end;
  }
  return frames;
}

/** @returns the lengths of header and payload */
function headerAt(bytes: Buffer, at: number): readonly [header: number, payload: number] {
  const left = bytes.length - at;
  const [first, short = 0] = [bytes[at], bytes[at + 1]];
  if (left < 2 || (first !== TEXT_START && first !== BINARY_START) || short > 127)
    throw new WireError('Not a frame');
  if (short <= MAX_LENGTH_7) return [2, short];
  if (left < (short === 126 ? 4 : 10)) throw new WireError('The end of a frame is missing');
  if (short === 126) {
    const length = bytes.readUInt16BE(at + 2);
    if (length > MAX_LENGTH_7) return [4, length];
  } else if (bytes.readUInt32BE(at + 2) === 0) {
    // More than 4 GiB is no message of ours.
    const length = bytes.readUInt32BE(at + 6);
    if (length > MAX_LENGTH_16) return [10, length];
  }
  throw new WireError('The length of a frame is not in its shortest form');
}
