import { expect, test } from 'vitest';
import { HistoryRun } from '../../src/sending/history-run.js';
import { Slice } from '../../src/sending/slice.js';
import type { DeflateWindow } from '../../src/sockets/ws.js';
import { SharedHistory } from '../../src/wire/shared-history.js';
import { entriesOf, STATELESS } from '../support/entries.js';

const SHARING = { ...STATELESS, isStateless: false };

const textOf = (seed: number): string =>
  Array.from({ length: 20 }, (_, i) => `${seed * 31 + i * 7} `).join('');

/** Slices of one message each, one after the other in one history. */
function slicesOf(count: number): Slice[] {
  const history = new SharedHistory(10_000);
  return Array.from({ length: count }, (_, i) => {
    const entries = entriesOf([textOf(i)]);
    for (const { envelope } of entries) envelope.enter(history);
    return new Slice(entries);
  });
}

function newRun(window: DeflateWindow = { owner: undefined }) {
  return { window, run: new HistoryRun(SHARING, window) };
}

const stateOf = (run: HistoryRun, slice: Slice): unknown[] => [run.isInStep(slice), run.behindFrom(slice)];

test('a member from the beginning is in step with each slice', () => {
  const { run, window } = newRun();
  const slices = slicesOf(3);
  for (const slice of slices) {
    expect(run.isInStep(slice)).toBe(true);
    run.take(slice);
    expect(window.owner).toBe(run);
  }
});

test('a member that joins holds nothing of the history, then what it has got since', () => {
  const { run } = newRun();
  const [, second, third] = slicesOf(3) as [Slice, Slice, Slice];
  expect(stateOf(run, second)).toEqual([false, undefined]);
  run.take(second);
  expect(stateOf(run, third)).toEqual([false, second.first!.start]);
});

test('a member that has missed a slice holds nothing of the history', () => {
  const { run } = newRun();
  const [first, , third] = slicesOf(3) as [Slice, Slice, Slice];
  run.take(first);
  expect(stateOf(run, third)).toEqual([false, undefined]);
});

test('a member whose socket has compressed something else holds nothing of the history', () => {
  const { run, window } = newRun();
  const [first, second] = slicesOf(2) as [Slice, Slice];
  run.take(first);
  window.owner = undefined;
  expect(stateOf(run, second)).toEqual([false, undefined]);
});

test('a slice without messages of the history is in step with everybody', () => {
  const { run } = newRun();
  expect(stateOf(run, new Slice(entriesOf(['x'])))).toEqual([true, undefined]);
});

test('a member that is behind refers to what it holds, and to no more than the youngest that is behind holds', () => {
  const [first, second, third] = slicesOf(3) as [Slice, Slice, Slice];
  const [all, some, none] = [newRun().run, newRun().run, newRun().run];
  for (const slice of [first, second]) all.take(slice);
  some.take(second);
  third.behindFrom = some.behindFrom(third);
  expect([all, some, none].map((run) => run.take(third).from)).toEqual([
    0,
    second.first!.start,
    third.first!.start,
  ]);
});

test('a member that is behind refers to nothing if nobody has compared what the members hold', () => {
  const [, second, third] = slicesOf(3) as [Slice, Slice, Slice];
  const { run } = newRun();
  run.take(second);
  expect(run.take(third).from).toBe(Infinity);
});

test('a large message to a room takes the window of its members, and the run starts again after it', () => {
  const { run, window } = newRun();
  const [first, second] = slicesOf(2) as [Slice, Slice];
  run.take(first);
  const [entry] = entriesOf(['x'.repeat(2_000)]);
  const encoded = run.take(new Slice([{ ...entry!, isForAll: false }]));
  expect(encoded.byteLength).toBeLessThan(100);
  expect(window.owner).toBeUndefined();
  expect(stateOf(run, second)).toEqual([false, undefined]);
});
