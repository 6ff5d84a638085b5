import { ByteReader, varintLength, WireError, writeVarint } from './bytes.js';
import { decodeRecord, HEADER_BYTES, MAGIC, STARTS, VERSION, type WireRecord } from './wire.js';

const HIGH = 2 ** 32;
/** Where the sender stands in the header. */
const SENDER_AT = 4;
const SEQUENCE_AT = 12;
const LENGTH_AT = 20;

/** What the header of a batch says. */
export interface BatchHeader {
  /** Hexadecimal, 16 characters. */
  readonly sender: string;
  readonly sequence: number;
  /** The sender remembers no earlier batch on this channel. */
  readonly starts: boolean;
  readonly headerBytes: number;
}

/** A batch of another version: not for us, and no fault. */
export const OTHER_VERSION = 'other version';

/** Bytes that a record of this length takes in a batch, its length included. */
export function recordBytes(length: number): number {
  return varintLength(length) + length;
}

/**
 * A batch out of records, each given as chunks that stand in a row.
 *
 * @param sender 8 bytes
 */
export function encodeBatch(
  sender: Buffer,
  sequence: number,
  starts: boolean,
  records: readonly { readonly chunks: readonly Buffer[]; readonly byteLength: number }[],
): Buffer {
  let bodyBytes = 0;
  for (const { byteLength } of records) bodyBytes += recordBytes(byteLength);
  const batch = Buffer.allocUnsafe(HEADER_BYTES + bodyBytes);
  batch[0] = MAGIC;
  batch[1] = VERSION;
  batch[2] = starts ? STARTS : 0;
  batch[3] = HEADER_BYTES;
  batch.set(sender, SENDER_AT);
  batch.writeUInt32BE(Math.floor(sequence / HIGH), SEQUENCE_AT);
  batch.writeUInt32BE(sequence % HIGH, SEQUENCE_AT + 4);
  batch.writeUInt32BE(bodyBytes, LENGTH_AT);
  let at = HEADER_BYTES;
  for (const { chunks, byteLength } of records) {
    at = writeVarint(batch, byteLength, at);
    for (const chunk of chunks) {
      batch.set(chunk, at);
      at += chunk.length;
    }
  }
  return batch;
}

/** @throws {WireError} not a batch */
export function decodeHeader(batch: Buffer): BatchHeader | typeof OTHER_VERSION {
  if (batch.length < HEADER_BYTES || batch[0] !== MAGIC) throw new WireError('Not a batch');
  if (batch[1] !== VERSION) return OTHER_VERSION;
  const headerBytes = batch[3] as number;
  const sequence = batch.readUInt32BE(SEQUENCE_AT) * HIGH + batch.readUInt32BE(SEQUENCE_AT + 4);
  // A later minor version may have a longer header.
  if (headerBytes < HEADER_BYTES || !Number.isSafeInteger(sequence)) throw new WireError('Not a header');
  const length = headerBytes + batch.readUInt32BE(LENGTH_AT);
  if (length !== batch.length) throw new WireError(`Expected ${length} bytes, got ${batch.length}`);
  const starts = ((batch[2] as number) & STARTS) !== 0;
  return { sender: batch.toString('hex', SENDER_AT, SENDER_AT + 8), sequence, starts, headerBytes };
}

/** The records of a batch, and how many of an unknown type were skipped. @throws {WireError} one of them is invalid */
export function decodeRecords(
  batch: Buffer,
  { headerBytes }: BatchHeader,
): { readonly records: readonly WireRecord[]; readonly unknown: number } {
  const reader = new ByteReader(batch, headerBytes);
  const records: WireRecord[] = [];
  let unknown = 0;
  while (reader.left > 0) {
    const body = new ByteReader(reader.bytes(reader.varint()));
    const record = decodeRecord(body);
    body.finish();
    if (record === undefined) unknown++;
    else records.push(record);
  }
  return { records, unknown };
}
