import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { decodeHeader, decodeRecords, encodeBatch, OTHER_VERSION } from '../../src/cluster/batch.js';
import { ByteReader, WireError, ByteWriter } from '../../src/cluster/bytes.js';
import { framesFrom } from '../../src/cluster/frames.js';
import { HEADER_BYTES, type WireRecord } from '../../src/cluster/wire.js';
import { encodeFrame } from '../../src/wire/frame.js';
import { batchOf, decodeBatch, GOLDEN } from '../support/golden-batches.js';
import { Random } from '../support/random.js';
import { runs } from '../support/runs.js';

/** The bytes of version 1, in hexadecimal. Never change a line: add one. */
const bytesOf = JSON.parse(
  readFileSync(new URL('golden/version-1.json', import.meta.url), 'utf8'),
) as Readonly<Record<string, string>>;

const golden = Object.entries(GOLDEN);

/** Frames as their payloads, so that equal ones are equal. */
function plain(records: readonly WireRecord[]): unknown {
  return records.map((record) => ({
    ...record,
    ...('frames' in record && { frames: record.frames.map(({ chunks }) => Buffer.concat(chunks)) }),
    ...('frame' in record && { frame: Buffer.concat(record.frame.chunks) }),
  }));
}

describe('the wire format', () => {
  test('the golden file has the bytes of every record', () => {
    expect(Object.keys(bytesOf)).toEqual(Object.keys(GOLDEN));
  });

  test.each(golden)('the record %s is encoded as in version 1', (name, record) => {
    expect(batchOf(record).toString('hex')).toBe(bytesOf[name]);
  });

  test.each(golden)('the record %s is decoded to what was encoded', (name, record) => {
    const batch = Buffer.from(bytesOf[name]!, 'hex');
    expect(plain(decodeBatch(batch)!)).toEqual(plain([record]));
    expect(decodeHeader(batch)).toEqual({
      sender: '0123456789abcdef',
      sequence: 2 ** 45 + 3,
      starts: true,
      headerBytes: HEADER_BYTES,
    });
  });

  test.each(golden)('a batch with %s is refused wherever it is cut off', (_name, record) => {
    const batch = batchOf(record);
    for (let length = 0; length < batch.length; length++) {
      assert.equal(decodeBatch(batch.subarray(0, length)), undefined);
    }
  });

  test.each(golden)(
    'a record %s that is cut off inside is refused, or is decoded without reading past its end',
    (_name, record) => {
      const batch = batchOf(record);
      for (let length = HEADER_BYTES + 2; length < batch.length; length++) {
        const cut = Buffer.from(batch.subarray(0, length));
        cut.writeUInt32BE(length - HEADER_BYTES, 20);
        assert.equal(decodeBatch(cut), undefined);
        // Also with a matching length of the record, if that takes one byte.
        if (length - HEADER_BYTES - 1 > 127) continue;
        cut[HEADER_BYTES] = length - HEADER_BYTES - 1;
        decodeBatch(cut);
      }
    },
  );

  test('a record of an unknown type is skipped and counted, and the others are decoded', () => {
    const records = [
      { chunks: [Buffer.from([200, 1, 2, 3])], byteLength: 4 },
      { chunks: [Buffer.of(12)], byteLength: 1 },
    ];
    const batch = encodeBatch(Buffer.alloc(8), 1, false, records);
    expect(decodeRecords(batch, decodeHeader(batch) as never)).toEqual({
      records: [{ kind: 'bye' }],
      unknown: 1,
    });
  });

  test('another version is not mistaken for garbage, and the rest of a longer header is skipped', () => {
    const batch = batchOf({ kind: 'bye' });
    batch[1] = 2;
    expect(decodeHeader(batch)).toBe(OTHER_VERSION);
    const bye = batchOf({ kind: 'bye' });
    const longer = Buffer.concat([
      bye.subarray(0, HEADER_BYTES),
      Buffer.alloc(5),
      bye.subarray(HEADER_BYTES),
    ]);
    longer[3] = HEADER_BYTES + 5;
    expect(decodeBatch(longer)).toEqual([{ kind: 'bye' }]);
  });

  test('the unknown end of a longer presence is ignored', () => {
    const { presence } = GOLDEN['beat'] as Extract<WireRecord, { kind: 'beat' }>;
    const batch = batchOf({ kind: 'beat', presence });
    const longer = Buffer.concat([batch, Buffer.from([1, 2, 3])]);
    longer[HEADER_BYTES]! += 3;
    longer.writeUInt32BE(longer.length - HEADER_BYTES, 20);
    expect(decodeBatch(longer)).toEqual([{ kind: 'beat', presence }]);
  });

  test.each([0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 300_000])(
    'frames of %i bytes are decoded unchanged',
    (length) => {
      const text = encodeFrame('x'.repeat(length));
      const bytes = encodeFrame(Buffer.alloc(length, 7));
      const run = Buffer.concat([...text.chunks, ...bytes.chunks]);
      const frames = framesFrom(run);
      expect(frames.map(({ payloadLength }) => payloadLength)).toEqual([length, length]);
      expect(Buffer.concat(frames.flatMap(({ chunks }) => chunks)).equals(run)).toBe(true);
      // They do not keep the memory of the batch.
      expect(frames[0]!.payload.buffer).not.toBe(run.buffer);
    },
  );

  test.each([
    ['masked', [0x81, 0x80, 0, 0, 0, 0]],
    ['without FIN', [0x01, 0]],
    ['compressed', [0xc1, 0]],
    ['a ping', [0x89, 0]],
    ['a close', [0x88, 0]],
    ['a continuation', [0x80, 0]],
    ['a length of 2 bytes that fits one', [0x81, 126, 0, 1, 120]],
    ['a length of 8 bytes that fits two', [0x81, 127, 0, 0, 0, 0, 0, 0, 0, 1, 120]],
    ['a length of more than 4 GiB', [0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0]],
    ['text that is not UTF-8', [0x81, 1, 0xff]],
    ['a lone first byte', [0x81]],
    ['half a length', [0x81, 126, 1]],
  ])('an invalid frame is refused: %s', (_what, bytes) => {
    expect(() => framesFrom(Buffer.from(bytes))).toThrow(WireError);
  });

  test('random numbers and strings are decoded to what was encoded', () => {
    const random = new Random(2);
    for (let round = runs({ quick: 100, ci: 1_000 }); round > 0; round--) {
      const numbers = Array.from({ length: 5 }, () => Math.floor(2 ** (53 * random.next())) - 1);
      const strings = Array.from({ length: 5 }, () =>
        String.fromCharCode(...Array.from({ length: random.below(5) }, () => random.below(0x10000))),
      );
      const writer = new ByteWriter().strings(strings);
      for (const number of numbers) writer.varint(number);
      const reader = new ByteReader(writer.end());
      assert.deepEqual(reader.strings(), strings);
      assert.deepEqual(
        numbers.map(() => reader.varint()),
        numbers,
      );
      reader.finish();
    }
  });

  test('a number that is too long and a list that is longer than its bytes are refused', () => {
    expect(() => new ByteReader(Buffer.alloc(20, 0xff)).varint()).toThrow(WireError);
    // Enough of these make the scale infinite, and 0 times that is not a number.
    const zeros = Buffer.concat([Buffer.alloc(160, 0x80), Buffer.of(1)]);
    expect(() => new ByteReader(zeros).varint()).toThrow(WireError);
    // Two encodings of one number would be two batches with one meaning.
    expect(() => new ByteReader(Buffer.from([0x80, 0])).varint()).toThrow(WireError);
    const many = new ByteWriter().varint(2 ** 40).end();
    expect(() => new ByteReader(many).strings()).toThrow(WireError);
  });
});

/** A decoded record can be written to a client: complete frames, valid text, a close that can be sent. */
