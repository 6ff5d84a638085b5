import { setImmediate as nextTurn } from 'node:timers/promises';
import zlib from 'node:zlib';
import { expect, test } from 'vitest';
import type { ConnectionsPoolOptions } from '../../src/index.js';
import { expectMessages, Room, TAKEOVER } from '../support/history-room.js';
import { records } from '../support/records.js';
import { Loopback } from '../support/loopback.js';
import { slowClock } from '../support/slow-clock.js';
import { spyOnZlib } from '../support/zlib-spies.js';

const MAX_FLUSH_MS = 5;
/** So few messages are not split, however long they take. */
const MAX_AT_ONCE = 16;
const HISTORY: ConnectionsPoolOptions = { compression: { history: true } };
const STATELESS = { perMessageDeflate: { serverNoContextTakeover: true, threshold: 0 } };

/** Each compression takes a millisecond. @returns how many there were in each turn until `done` */
async function compressionsPerTurn(begin: () => Promise<unknown>): Promise<number[]> {
  const clock = slowClock();
  const { deflateRawSync } = zlib;
  const spy = spyOnZlib('deflateRawSync');
  let count = 0;
  spy.mockImplementation((...args) => {
    count++;
    clock.pass(1);
    return deflateRawSync(args[0], args[1]);
  });
  const state = { isDone: false };
  void begin().then(() => (state.isDone = true));
  const counts: number[] = [];
  while (!state.isDone) {
    await nextTurn();
    counts.push(count);
    count = 0;
  }
  return counts;
}

// All messages of the turn were compressed in the write of the first member, however long that took: 10,000 held up the
// event loop for seconds.
test.each([
  ['a shared history', TAKEOVER, HISTORY],
  ['shared compression', STATELESS, {}],
])(
  'a burst with %s is compressed in turns of maxFlushMs, and arrives in order',
  async (_, server, options) => {
    const room = new Room(await Loopback.start(server), { maxFlushMs: MAX_FLUSH_MS, ...options });
    const { pool } = room;
    const [a, b] = [await room.member('a'), await room.member('b')];
    await room.broadcast('both are in step with the history');
    const messages = records(100);
    const counts = await compressionsPerTurn(() =>
      Promise.all(messages.map((message) => pool.broadcastMessage('default', message))),
    );
    expect(Math.max(...counts)).toBeLessThanOrEqual(MAX_AT_ONCE);
    for (const member of [a, b])
      await expectMessages(member, ['both are in step with the history', ...messages]);
  },
);
