import { constants, deflateRaw, deflateRawSync, type ZlibOptions } from 'node:zlib';
import type { Agreement } from './agreement.js';
import { compressedFrame, type Frame } from './frame.js';

/**
 * Payloads up to this size are compressed synchronously, in bytes. Below it, the thread pool costs more than the
 * compression itself; above it, the compression would hold up the event loop.
 */
export const MAX_SYNC_DEFLATE_BYTES = 8 * 1024;
/** The dictionary of a message that refers to nothing before it. */
export const NO_DICTIONARY = Buffer.alloc(0);
/** Bytes that end every flushed block and are left out on the wire (RFC 7692 §7.2.1). */
const TRAILER_BYTES = 4;
/** zlib cannot reach this many bytes at the far end of its window (`MIN_LOOKAHEAD`). */
const LOOKAHEAD_BYTES = 262;

function optionsFor(
  payload: Buffer,
  { windowBits, level, memLevel }: Agreement,
  dictionary: Buffer,
): ZlibOptions {
  const inputBytes = payload.length + dictionary.length;
  return {
    // zlib silently uses 9 bits for 8 in raw streams, which is too much for the peer: see `canCompress`.
    // The window is no larger than the input needs: setting one up costs more than compressing a small message.
    windowBits: Math.min(windowBits, Math.max(9, Math.ceil(Math.log2(inputBytes + LOOKAHEAD_BYTES)))),
    ...(level !== undefined && { level }),
    ...(memLevel !== undefined && { memLevel }),
    ...(dictionary.length > 0 && { dictionary }),
    finishFlush: constants.Z_SYNC_FLUSH,
  };
}

/**
 * Compresses one message for every socket with this agreement whose window ends with `dictionary`; with an empty
 * dictionary, for every socket with this agreement.
 *
 * @see RFC 7692 §7.2.1
 */
export function deflateFrameSync(
  payload: Buffer,
  isBinary: boolean,
  agreement: Agreement,
  dictionary: Buffer,
): Frame {
  return toFrame(deflateRawSync(payload, optionsFor(payload, agreement, dictionary)), isBinary);
}

/** Does the same in the thread pool. The callback gets `undefined` if zlib fails; the plain frame will do then. */
export function deflateFrame(
  payload: Buffer,
  isBinary: boolean,
  agreement: Agreement,
  dictionary: Buffer,
  callback: (frame: Frame | undefined) => void,
): void {
  deflateRaw(payload, optionsFor(payload, agreement, dictionary), (error, deflated) => {
    callback(error === null ? toFrame(deflated, isBinary) : undefined);
  });
}

function toFrame(deflated: Buffer, isBinary: boolean): Frame {
  return compressedFrame(deflated.subarray(0, deflated.length - TRAILER_BYTES), isBinary);
}
