import assert from 'node:assert/strict';
import { expect, test } from 'vitest';
import { Fifo } from '../src/fifo.js';
import { Random } from './support/random.js';

test('a queue returns its items in order', () => {
  const random = new Random(1);
  const fifo = new Fifo<{ readonly n: number }>();
  const model: { readonly n: number }[] = [];
  for (let n = 0; n < 5_000; n++) {
    const item = { n };
    // The queue grows and shrinks in turn.
    if (random.below(10) < (n % 1_000 < 500 ? 7 : 3)) {
      fifo.push(item);
      model.push(item);
    } else assert.equal(fifo.shift(), model.shift());
    assert.equal(fifo.length, model.length);
    assert.equal(fifo.first, model[0]);
  }
  while (model.length > 0) assert.equal(fifo.shift(), model.shift());
  expect([fifo.shift(), fifo.first, fifo.length]).toEqual([undefined, undefined, 0]);
});

test('items from the middle of a queue are returned in order, and the rest stays in order', () => {
  const fifo = new Fifo<{ readonly n: number }>();
  for (let n = 0; n < 10; n++) fifo.push({ n });
  for (let n = 0; n < 3; n++) fifo.shift();
  expect(fifo.take(({ n }) => n % 2 === 0)).toEqual([{ n: 4 }, { n: 6 }, { n: 8 }]);
  expect(fifo.length).toBe(4);
  expect([1, 2, 3, 4].map(() => fifo.shift()?.n)).toEqual([3, 5, 7, 9]);
});

test('a queue that was cleared is empty and can be used again', () => {
  const fifo = new Fifo<object>();
  const item = {};
  fifo.push({});
  fifo.push({});
  fifo.shift();
  fifo.clear();
  expect([fifo.length, fifo.first]).toEqual([0, undefined]);
  fifo.push(item);
  expect(fifo.shift()).toBe(item);
});
