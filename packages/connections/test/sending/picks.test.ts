import assert from 'node:assert/strict';
import { expect, test } from 'vitest';
import { Picks } from '../../src/sending/picks.js';
import { Random } from '../support/random.js';

const positions = (picks: Picks | undefined): number[] => picks?.positions() ?? [];

test('connections that add the same messages to the same list share one list', () => {
  const none = new Picks();
  const first = none.with(1, 10);
  expect(none.with(1, 10)).toBe(first);
  expect(first.with(4, 5)).toBe(none.with(1, 10).with(4, 5));
  // Another list has added the message in the meantime.
  const other = none.with(4, 5);
  expect(first.with(5, 1)).toBe(first.with(5, 1));
  expect(other).not.toBe(first.with(5, 1));
});

test('a list knows its messages, their bytes and the size of the last', () => {
  const picks = new Picks().with(1, 10).with(4, 5).with(9, 1);
  expect([positions(picks), picks.position, picks.byteLength, picks.ownBytes]).toEqual([[1, 4, 9], 9, 16, 1]);
});

test('the rest of a list that is cut is one shared list again', () => {
  const [none, next] = [new Picks(), new Picks()];
  const picks = none.with(1, 10).with(4, 5).with(9, 1);
  expect(picks.before(4)).toBe(none.with(1, 10));
  expect(picks.before(10)).toBe(picks);
  expect(picks.before(1)).toBeUndefined();
  expect(none.before(0)).toBeUndefined();
  const rest = picks.from(4, next);
  expect([positions(rest), rest?.byteLength]).toEqual([[4, 9], 6]);
  expect(picks.from(4, next)).toBe(rest);
  expect(picks.from(10, next)).toBeUndefined();
});

test.each([1, 2, 3])('lists that are cut anywhere keep everything that was added (seed %i)', (seed) => {
  const random = new Random(seed);
  for (let round = 0; round < 200; round++) {
    const held: number[] = [];
    let picks = new Picks();
    for (let position = 0; position < 40; position++)
      if (random.chance(0.4)) {
        picks = picks.with(position, 1);
        held.push(position);
      }
    for (let cut = 0; cut < 4; cut++) {
      const at = random.below(42);
      assert.deepEqual(
        positions(picks.before(at)),
        held.filter((position) => position < at),
      );
      const rest = picks.from(at, new Picks());
      assert.deepEqual(
        positions(rest),
        held.filter((position) => position >= at),
      );
      assert.equal(rest?.byteLength ?? 0, positions(rest).length);
    }
  }
});
