import { constants, deflateRawSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { StrictInflater } from './inflate.js';
import { Random } from './random.js';

const flushed = { finishFlush: constants.Z_SYNC_FLUSH };
const compress = (message: Buffer, options: object): Buffer =>
  deflateRawSync(message, { ...flushed, ...options }).subarray(0, -4);

test.each([9, 11, 15].flatMap((windowBits) => [0, 1, 6, 9].map((level) => ({ windowBits, level }))))(
  'the strict decoder understands what zlib compresses ($windowBits bits, level $level)',
  ({ windowBits, level }) => {
    const random = new Random(windowBits * 10 + level);
    const inflater = new StrictInflater(windowBits);
    let window: Buffer = Buffer.alloc(0);
    for (const size of [0, 1, 50, 300, 3_000, 40_000, 10, 5_000]) {
      const message = random.bytes(size, random.chance(0.7));
      const strategy = random.pick([constants.Z_DEFAULT_STRATEGY, constants.Z_FIXED]);
      const options = { windowBits, level, strategy, ...(window.length > 0 && { dictionary: window }) };
      expect(inflater.inflate(compress(message, options)).message.equals(message)).toBe(true);
      window = Buffer.concat([window, message]).subarray(-(2 ** windowBits));
    }
  },
);

test('the strict decoder reports how far back before its own start a message refers', () => {
  const inflater = new StrictInflater(15);
  // zlib never refers to the first byte of a dictionary.
  const dictionary = Buffer.from('!something that comes again and 0123456789');
  inflater.inflate(compress(dictionary, {}));
  const message = Buffer.from('something that comes again');
  const inflated = inflater.inflate(compress(message, { dictionary }));
  expect(inflated).toEqual({ message, reachBytes: dictionary.length - 1 });
});

test('the strict decoder rejects a reference to bytes that the client has never received', () => {
  const dictionary = Buffer.from('!something that comes again');
  const payload = compress(dictionary.subarray(1), { dictionary });
  const inflater = new StrictInflater(15);
  expect(() => inflater.inflate(payload)).toThrow('A reference 26 back: 0 of 32768 are there');
});

test('the strict decoder rejects a reference beyond the agreed window, even within one message', () => {
  const random = new Random(1);
  const message = Buffer.concat([Buffer.from('something that comes again'), random.bytes(600, false)]);
  const payload = compress(Buffer.concat([message, message]), { windowBits: 15 });
  expect(new StrictInflater(10).inflate(payload).message).toHaveLength(1_252);
  expect(() => new StrictInflater(9).inflate(payload)).toThrow('A reference 626 back');
});
