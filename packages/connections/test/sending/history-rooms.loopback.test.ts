import { beforeEach, expect, test } from 'vitest';
import { expectMessages, last, Room, SMALL_HISTORY_BYTES } from '../support/history-room.js';
import { record, records } from '../support/records.js';
import { Random } from '../support/random.js';
import { stopClock } from '../support/stop-clock.js';

beforeEach(stopClock);

/** Two members with a full history; the first is in the room 'red'. */
async function twoInStep(): ReturnType<typeof members> {
  const all = await members();
  for (const text of records(10)) await all.room.broadcast(text);
  return all;
}

async function members(): Promise<{
  readonly room: Room;
  readonly inRed: Awaited<ReturnType<Room['member']>>;
  readonly other: Awaited<ReturnType<Room['member']>>;
}> {
  const room = await Room.open();
  const [inRed, other] = [await room.member('a'), await room.member('b')];
  inRed.connection.join('red');
  return { room, inRed, other };
}

test('a small message to a room goes uncompressed to members that share the history, and keeps them in step', async () => {
  const { room, inRed, other } = await twoInStep();
  const secret = record(100);
  await room.pool.broadcastMessage('default', secret, { rooms: 'red' });
  expect((await last(inRed)).isCompressed).toBe(false);
  await room.broadcast(record(11));
  const [one, two] = [await last(inRed), await last(other)];
  expect(one.wire).toEqual(two.wire);
  expect(one.reachBytes).toBeGreaterThan(0);
  await expectMessages(inRed, [...records(10), secret, record(11)]);
  await expectMessages(other, [...records(10), record(11)]);
});

test('a large message to a room is compressed on its own, and the members of the room start again after it', async () => {
  const { room, inRed, other } = await twoInStep();
  const large = records(15).join('');
  const { compressions } = room.pool.stats();
  await room.pool.broadcastMessage('default', large, { rooms: 'red' });
  expect(await last(inRed)).toMatchObject({ isCompressed: true, reachBytes: 0 });
  // The next messages of the others do not contain it and must not refer to it.
  await room.broadcast(record(11));
  const [one, two] = [await last(inRed), await last(other)];
  expect(one).toMatchObject({ isCompressed: true, reachBytes: 0 });
  expect(two.reachBytes).toBeGreaterThan(0);
  expect(room.pool.stats().compressions - compressions).toBe(3);
  // The members are in step again after the length of the history.
  const more = records(SMALL_HISTORY_BYTES / 100 + 2, 12);
  for (const text of more) await room.broadcast(text);
  expect((await last(inRed)).wire).toEqual((await last(other)).wire);
  await expectMessages(inRed, [...records(10), large, record(11), ...more]);
  await expectMessages(other, [...records(10), record(11), ...more]);
});

test.each([1_025, 9_000, 70_000])(
  'a message of %i bytes to a room in the middle of a turn leaves the windows right',
  async (size) => {
    const { room, inRed, other } = await twoInStep();
    const large = new Random(size).bytes(size, true).toString('latin1');
    const results = [
      room.pool.broadcastMessage('default', record(11)),
      room.pool.broadcastMessage('default', large, { rooms: 'red' }),
      room.pool.broadcastMessage('default', record(12)),
      room.pool.broadcastMessage('default', record(13)),
    ];
    for (const result of results) expect((await result).failed).toBe(0);
    const after = records(8, 14);
    for (const text of after) await room.broadcast(text);
    expect((await last(inRed)).wire).toEqual((await last(other)).wire);
    const before = records(10);
    await expectMessages(inRed, [...before, record(11), large, record(12), record(13), ...after]);
    await expectMessages(other, [...before, record(11), record(12), record(13), ...after]);
  },
);

test('a large message to a room at the end of a turn leaves an empty history', async () => {
  const { room, inRed, other } = await twoInStep();
  const large = records(15).join('');
  await Promise.all([
    room.pool.broadcastMessage('default', record(11)),
    room.pool.broadcastMessage('default', large, { rooms: 'red' }),
  ]);
  await room.broadcast(record(12));
  expect((await last(inRed)).reachBytes).toBe(0);
  expect((await last(other)).reachBytes).toBeGreaterThan(0);
});
