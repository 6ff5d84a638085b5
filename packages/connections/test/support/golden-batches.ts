import { decodeHeader, decodeRecords, encodeBatch, OTHER_VERSION } from '../../src/cluster/batch.js';
import { WireError } from '../../src/cluster/bytes.js';
import {
  encodeFramesTo,
  encodeRecord,
  EVERYBODY,
  RecordType,
  type Presence,
  type WireRecord,
} from '../../src/cluster/wire.js';
import { encodeFrame, type Frame } from '../../src/wire/frame.js';

const ask = { request: 300, all: true };
const close = { code: 4000, reason: 'grüß' };
const target = {
  rooms: ['red', ''],
  exceptRooms: ['blue'],
  exceptions: ['1', 'é\ud800'],
  conflate: 'k',
  close,
};
const presence: Presence = {
  minVersion: 1,
  maxVersion: 1,
  name: 'node:1',
  isPublishOnly: false,
  isBack: true,
  connections: 1000,
  namespaces: 2,
  draining: { remaining: 70_000, maxPerSecond: 10 },
};

/** One record of each kind, by name. A name and its bytes never change: older nodes send and read them. */
export const GOLDEN: Readonly<Record<string, WireRecord>> = {
  frames: {
    kind: 'frames',
    target: EVERYBODY,
    frames: [encodeFrame('text ü'), encodeFrame(Buffer.from([0, 255])), encodeFrame('x'.repeat(126))],
  },
  'frames-to': { kind: 'frames', target, frames: [encodeFrame('hi')] },
  'frames-to-no-room': { kind: 'frames', target: { ...EVERYBODY, rooms: [] }, frames: [encodeFrame('')] },
  send: { kind: 'send', ask, id: 'é', frame: encodeFrame('hi'), conflate: 'k', close },
  'send-plain': {
    kind: 'send',
    ask: { request: 1, all: false },
    id: '',
    frame: encodeFrame(Buffer.of(7)),
    conflate: undefined,
    close: undefined,
  },
  close: { kind: 'close', ask, id: '1', close },
  'close-all': { kind: 'closeAll', ask, target: { ...target, conflate: undefined } },
  has: { kind: 'has', ask, id: '1' },
  count: { kind: 'count', ask, namespace: 'x', rooms: ['red'] },
  answer: { kind: 'answer', request: 2 ** 40, value: 12 },
  claim: { kind: 'claim', id: '1', joinedAtMs: 1_790_000_000_000, isLate: true },
  hello: { kind: 'hello', presence },
  beat: { kind: 'beat', presence: { ...presence, isPublishOnly: true, isBack: false, draining: undefined } },
  bye: { kind: 'bye' },
};

/** The record in its own batch. */
export function batchOf(...records: readonly WireRecord[]): Buffer {
  const encoded = records.map((record) => {
    const chunks = chunksOf(record);
    return { chunks, byteLength: chunks.reduce((sum, { length }) => sum + length, 0) };
  });
  return encodeBatch(Buffer.from('0123456789abcdef', 'hex'), 2 ** 45 + 3, true, encoded);
}

function chunksOf(record: WireRecord): Buffer[] {
  if (record.kind !== 'frames') return [encodeRecord(record)];
  const head = record.target === EVERYBODY ? Buffer.of(RecordType.Frames) : encodeFramesTo(record.target);
  return [head, ...record.frames.flatMap(({ chunks }: Frame) => chunks)];
}

/** The records of a batch; `undefined` if it is not valid or of another version. */
export function decodeBatch(batch: Buffer): readonly WireRecord[] | undefined {
  try {
    const header = decodeHeader(batch);
    return header === OTHER_VERSION ? undefined : decodeRecords(batch, header).records;
  } catch (error) {
    // No other error may be thrown, above all no RangeError of a read past the end.
    if (!(error instanceof WireError)) throw error;
    return undefined;
  }
}
