import { constants, deflateRaw, deflateRawSync, type ZlibOptions } from 'node:zlib';
import { compressedFrame, type Frame } from './frame.js';
import type { Compression } from './ws-socket.js';

/**
 * Payloads up to here are compressed synchronously, in bytes. Below it the detour through the thread pool costs
 * more than the compression; above it the compression would hold up the event loop.
 */
export const MAX_SYNC_DEFLATE_BYTES = 8 * 1024;
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

function zlibOptions({ windowBits, level, memLevel }: Compression): ZlibOptions {
  return {
    // zlib takes 8 for 9 in raw streams, and the peer's window would then be too small: see `canCompress`.
    windowBits,
    ...(level !== undefined && { level }),
    ...(memLevel !== undefined && { memLevel }),
    finishFlush: constants.Z_SYNC_FLUSH,
  };
}

/** zlib cannot produce a raw stream for a window of 8 bits; such sockets get plain frames. */
export function canCompress(compression: Compression, payloadBytes: number): boolean {
  return compression.windowBits > 8 && payloadBytes >= Math.max(compression.thresholdBytes, 1);
}

/** One message compressed on its own: right for every socket of that agreement. @see RFC 7692 §7.2.1 */
export function deflateFrameSync(payload: Buffer, isBinary: boolean, compression: Compression): Frame {
  return toFrame(deflateRawSync(payload, zlibOptions(compression)), isBinary);
}

/** The same in the thread pool. The callback gets `undefined` where zlib failed: the plain frame is as good. */
export function deflateFrame(
  payload: Buffer,
  isBinary: boolean,
  compression: Compression,
  callback: (frame: Frame | undefined) => void,
): void {
  deflateRaw(payload, zlibOptions(compression), (error, deflated) => {
    callback(error === null ? toFrame(deflated, isBinary) : undefined);
  });
}

function toFrame(deflated: Buffer, isBinary: boolean): Frame {
  return compressedFrame(deflated.subarray(0, deflated.length - TRAILER_BYTES), isBinary);
}
