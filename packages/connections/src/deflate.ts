import { constants, deflateRaw, deflateRawSync, type ZlibOptions } from 'node:zlib';
import { compressedFrame, type Frame } from './frame.js';
import type { Compression } from './ws-socket.js';

/**
 * Payloads up to here are compressed synchronously, in bytes. Below it the detour through the thread pool costs
 * more than the compression; above it the compression would hold up the event loop.
 */
export const MAX_SYNC_DEFLATE_BYTES = 8 * 1024;
/** The dictionary of a message that refers to nothing before it. */
export const NO_DICTIONARY = Buffer.alloc(0);
/** What ends every flushed block and is left out on the wire (RFC 7692 §7.2.1). */
const TRAILER_BYTES = 4;

const agreed = new Map<string, Compression>();

/** One object for equal agreements, so that its identity tells which frames a socket can share. */
export function internCompression(compression: Compression): Compression {
  const key = JSON.stringify(compression);
  const known = agreed.get(key);
  if (known === undefined) agreed.set(key, compression);
  return known ?? compression;
}

/** A dictionary as long as the window would not be reached to its start by zlib (`MIN_LOOKAHEAD`), in bytes. */
const LOOKAHEAD_BYTES = 262;

function zlibOptions({ windowBits, level, memLevel }: Compression, input: number): ZlibOptions {
  return {
    // zlib takes 8 for 9 in raw streams, and the peer's window would then be too small: see `canCompress`.
    // No larger than the input needs: to set up a window costs more than to compress a small message.
    windowBits: Math.min(windowBits, Math.max(9, Math.ceil(Math.log2(input + LOOKAHEAD_BYTES)))),
    ...(level !== undefined && { level }),
    ...(memLevel !== undefined && { memLevel }),
    finishFlush: constants.Z_SYNC_FLUSH,
  };
}

/** zlib cannot produce a raw stream for a window of 8 bits; such sockets get plain frames. */
export function canCompress(compression: Compression, payloadBytes: number): boolean {
  return compression.windowBits > 8 && payloadBytes >= Math.max(compression.thresholdBytes, 1);
}

/**
 * One message, compressed once for all sockets of that agreement whose windows end with the dictionary: with none,
 * for all of them.
 *
 * @see RFC 7692 §7.2.1
 */
export function deflateFrameSync(
  payload: Buffer,
  isBinary: boolean,
  compression: Compression,
  dictionary: Buffer,
): Frame {
  return toFrame(deflateRawSync(payload, withDictionary(payload, compression, dictionary)), isBinary);
}

function withDictionary(payload: Buffer, compression: Compression, dictionary: Buffer): ZlibOptions {
  const options = zlibOptions(compression, payload.length + dictionary.length);
  return dictionary.length > 0 ? { ...options, dictionary } : options;
}

/** The same in the thread pool. The callback gets `undefined` where zlib failed: the plain frame is as good. */
export function deflateFrame(
  payload: Buffer,
  isBinary: boolean,
  compression: Compression,
  dictionary: Buffer,
  callback: (frame: Frame | undefined) => void,
): void {
  deflateRaw(payload, withDictionary(payload, compression, dictionary), (error, deflated) => {
    callback(error === null ? toFrame(deflated, isBinary) : undefined);
  });
}

function toFrame(deflated: Buffer, isBinary: boolean): Frame {
  return compressedFrame(deflated.subarray(0, deflated.length - TRAILER_BYTES), isBinary);
}
