import { test } from 'vitest';
import { useFakeClock } from '../support/fake-clock.js';
import { expectPace } from '../support/timed-pool.js';

useFakeClock();

test.each([
  [1_000, 100, 3_500],
  [2_000, 100, 7_000],
  [2_000, 10, 7_000],
  [2_000, 1, 5_000],
])('at %i per second in steps of %d ms no more than that leave in any second, of thousands', expectPace);
