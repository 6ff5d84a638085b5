import { expect, test, vi } from 'vitest';
import { BroadcastLog } from '../../src/sending/broadcast-log.js';
import type { Slice } from '../../src/sending/slice.js';
import { entriesOf, STATELESS } from '../support/entries.js';

const lengthOf = ({ start, end }: BroadcastLog): number => end - start;
const textsOf = ({ entries }: Slice): unknown[] => entries.map(({ envelope }) => envelope.message);

test('a log knows its messages and their bytes from every cursor on', () => {
  const log = new BroadcastLog(entriesOf(['a', 'bb', 'ccc']));
  expect([lengthOf(log), log.byteLength]).toEqual([3, 3 + 4 + 5]);
  expect([0, 1, 2, 3, 9].map((cursor) => log.bytesFrom(cursor))).toEqual([12, 9, 5, 0, 0]);
  expect(textsOf(log.from(1))).toEqual(['bb', 'ccc']);
  const later = new BroadcastLog(entriesOf(['a', 'bb', 'ccc']), 7);
  expect([7, 8, 9, 10].map((cursor) => later.bytesFrom(cursor))).toEqual([12, 9, 5, 0]);
  expect(textsOf(later.from(9))).toEqual(['ccc']);
});

test('connections that need the same part of a log share it, until something is added', () => {
  const log = new BroadcastLog(entriesOf(['a', 'b']));
  const part = log.from(1);
  expect(log.from(1)).toBe(part);
  log.append(entriesOf(['c'])[0]!);
  expect(log.from(1)).not.toBe(part);
  expect(textsOf(part)).toEqual(['b']);
  expect(textsOf(log.from(1))).toEqual(['b', 'c']);
});

test('a sealed log ends after some messages, and the rest goes on in the next one', () => {
  const log = new BroadcastLog(entriesOf(['a', 'b', 'c']));
  const next = log.seal(2);
  expect([log.next, next.next]).toEqual([next, undefined]);
  expect([lengthOf(log), log.byteLength, lengthOf(next), next.byteLength]).toEqual([2, 6, 1, 3]);
  expect([0, 1].map((cursor) => log.bytesFrom(cursor))).toEqual([6, 3]);
  expect(textsOf(log.whole())).toEqual(['a', 'b']);
  expect(log.from(0)).toBe(log.whole());
  next.append(entriesOf(['d'])[0]!);
  expect(textsOf(next.from(2))).toEqual(['c', 'd']);
});

test('the parts of a log that is sealed twice stay in order', () => {
  const log = new BroadcastLog(entriesOf(['a', 'b', 'c']));
  const last = log.seal(3);
  const middle = log.seal(1);
  expect([log.next, middle.next]).toEqual([middle, last]);
  expect([log, middle, last].map(lengthOf)).toEqual([1, 2, 0]);
});

// A burst had sealed the log, a private message had taken a part of it, and then a part of it had to wait for its
// compression. The whole still contained everything: the waiting messages were sent twice.
test('a log that is sealed again after a part was taken has the length it reports', () => {
  const log = new BroadcastLog(entriesOf(['a', 'b', 'c']));
  log.seal(3);
  expect(textsOf(log.from(1))).toEqual(['b', 'c']);
  const rest = log.seal(1);
  expect([textsOf(log.whole()), textsOf(log.from(0)), textsOf(rest.whole())]).toEqual([
    ['a'],
    ['a'],
    ['b', 'c'],
  ]);
  expect(textsOf(rest.from(2))).toEqual(['c']);
});

test('parts that were taken before the log was sealed share the bytes of the whole', () => {
  const log = new BroadcastLog(entriesOf(['a', 'b', 'c']));
  const [tail, all] = [log.from(1), log.from(0)];
  log.seal(3);
  const whole = log.whole().encoded(undefined, undefined).chunks[0]!;
  for (const part of [tail, all]) {
    const bytes = part.encoded(undefined, undefined, true).chunks[0]!;
    expect(bytes.buffer).toBe(whole.buffer);
  }
  expect(tail.encoded(undefined, undefined, true).chunks[0]!.toString('latin1')).toBe('\x81\x01b\x81\x01c');
});

test('a part that goes on in the next log has bytes of its own', () => {
  const log = new BroadcastLog(entriesOf(['a', 'b', 'c']));
  const part = log.from(1);
  log.seal(2);
  const whole = log.whole().encoded(undefined, undefined).chunks[0]!;
  expect(part.encoded(undefined, undefined, true).chunks[0]!.buffer).not.toBe(whole.buffer);
  expect(textsOf(part)).toEqual(['b', 'c']);
});

test('a log is ready up to the first message that is being compressed and not overdue', async () => {
  const entries = entriesOf(['a', 'x'.repeat(20_000), 'b']);
  const ready = new Promise<void>((resolve) => entries[1]!.envelope.prepare([STATELESS], [], false, resolve));
  const log = new BroadcastLog(entries);
  expect([log.readyEnd(0), log.readyEnd(49), log.readyEnd(50), log.readyEnd(Infinity)]).toEqual([1, 1, 3, 3]);
  expect(log.plainAtMs).toBe(50);
  await ready;
  expect([log.readyEnd(0), log.plainAtMs]).toEqual([3, undefined]);
});

test('a finished log lets go of its messages', () => {
  const log = new BroadcastLog(entriesOf(['a']));
  log.seal(1);
  log.finish();
  expect([log.isDone, lengthOf(log), log.byteLength, log.next]).toEqual([true, 0, 0, undefined]);
});

// They were passed as so many arguments, which no stack holds: a turn of many small room messages ended the process.
test('a log holds more picks than a call can have arguments', () => {
  const count = 200_000;
  const [entry] = entriesOf(['tick']);
  const log = new BroadcastLog([{ ...entry!, isForAll: false }]);
  const picks = log.noPicks.with(0, entry!.envelope.byteLength);
  // A real list of that many would take half a second to build.
  vi.spyOn(picks, 'positions').mockReturnValue(new Array<number>(count).fill(0));
  log.seal(1);
  expect(log.whole(picks).entries.length).toBe(count);
});
