import { test } from 'vitest';
import { framesFrom } from '../../src/cluster/frames.js';
import { HEADER_BYTES, type WireRecord } from '../../src/cluster/wire.js';
import { batchOf, decodeBatch, GOLDEN } from '../support/golden-batches.js';
import { Random } from '../support/random.js';
import { isCi, runs } from '../support/runs.js';

const FUZZ_ROUNDS = runs({ quick: 500, ci: 20_000 }, 'CLUSTER_FUZZ_ROUNDS');
/** Changes to a byte: all of them, or those that give a neighbour, another sign or a large number. */
const FLIPS = isCi
  ? Array.from({ length: 256 }, (_, flip) => flip)
  : [1, 2, 3, 4, 8, 16, 32, 64, 127, 128, 255];

const golden = Object.entries(GOLDEN);

test.each(golden)(
  'the record %s with any byte changed is decoded to whole frames or refused with a WireError',
  (_name, record) => {
    const batch = batchOf(record);
    for (let at = 0; at < batch.length; at++) {
      for (const flip of FLIPS) {
        const flipped = Buffer.from(batch);
        flipped[at]! ^= flip;
        const records = decodeBatch(flipped) ?? [];
        for (const read of records) assertSendable(read);
      }
    }
  },
);

test('a batch with random bytes is decoded to whole frames or refused with a WireError', () => {
  const random = new Random(1);
  const batches = golden.map(([, record]) => batchOf(record));
  for (let round = 0; round < FUZZ_ROUNDS; round++) {
    const batch = Buffer.from(random.pick(batches));
    for (let flips = 1 + random.below(4); flips > 0; flips--) {
      batch[HEADER_BYTES + random.below(batch.length - HEADER_BYTES)] = random.below(256);
    }
    for (const record of decodeBatch(batch) ?? []) assertSendable(record);
  }
});

function assertSendable(record: WireRecord): void {
  const frames = record.kind === 'frames' ? record.frames : record.kind === 'send' ? [record.frame] : [];
  for (const { chunks, byteLength, payloadLength } of frames) {
    const bytes = Buffer.concat(chunks);
    if (bytes.length !== byteLength || payloadLength > byteLength) throw new Error('Not a whole frame');
    framesFrom(bytes);
  }
}
