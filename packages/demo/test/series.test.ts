import { expect, test } from 'vitest';
import { Series } from '../src/show/series.js';

const NOW_MS = 1_000_000_500;
const SECOND = 1_000_000;

test('a series adds up the reports of each node for a second', () => {
  const series = new Series(2);
  series.add(0, [[SECOND - 1, 3, 1]]);
  series.add(1, [[SECOND - 1, 0, 2]]);
  series.add(0, [[SECOND - 1, 4, 0]]);
  expect(series.rows(NOW_MS).at(-1)).toEqual([SECOND - 1, [7, 0], [1, 2]]);
});

test('a series has a row for each of the last 90 seconds, but not for the current one', () => {
  const series = new Series(1);
  series.add(0, [[SECOND, 5, 5]]);
  const rows = series.rows(NOW_MS);
  expect(rows.map(([second]) => second)).toEqual(
    Array.from({ length: 90 }, (_, index) => SECOND - 90 + index),
  );
  expect(rows.flatMap(([, closes]) => closes)).toEqual(new Array(90).fill(0));
  expect(series.rows(NOW_MS + 1_000).at(-1)).toEqual([SECOND, [5], [5]]);
});

test('a series forgets what is older than 90 seconds', () => {
  const series = new Series(1);
  series.add(0, [[SECOND - 91, 5, 5]]);
  series.rows(NOW_MS);
  expect(series.rows(NOW_MS - 2_000)[0]).toEqual([SECOND - 92, [0], [0]]);
});
