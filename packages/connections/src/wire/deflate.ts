import { constants, deflateRaw, deflateRawSync, type ZlibOptions } from 'node:zlib';
import { windowBitsFor, type Agreement } from './agreement.js';
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

function optionsFor(payload: Buffer, agreement: Agreement, dictionary: Buffer): ZlibOptions {
  const { level, memLevel } = agreement;
  return {
    // zlib silently uses 9 bits for 8 in raw streams, which is too much for the peer: see `canCompress`.
    windowBits: windowBitsFor(agreement, payload.length + dictionary.length),
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
