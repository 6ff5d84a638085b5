import { expect, test, vi } from 'vitest';
import { onTestFinished } from '../support/on-test-finished.js';
import { Random } from '../support/random.js';
import { ReentrancyRound } from '../support/reentrancy-model.js';
import { runs } from '../support/runs.js';
import { watchUnhandled } from '../support/unhandled.js';

/** Rounds per seed. */
const ROUNDS = runs({ quick: 3, ci: 250 }, 'CONNECTIONS_REENTRANCY_ROUNDS');
const FIRST_SEED = Number(process.env['CONNECTIONS_TEST_FIRST_SEED'] ?? 1);
const seeds = Array.from({ length: 8 }, (_, index) => FIRST_SEED + index);

// User code that called the pool while the pool was calling it made broadcasts lose copies or never resolve, left
// connections half in the pool, and changed the order of messages.
test.each(seeds)('user code may call the pool whenever the pool calls it (seed %i)', async (seed) => {
  const unhandled = watchUnhandled();
  // Each reading of the clock takes time, so that walks over many members stop in the middle.
  let nowMs = performance.now();
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => (nowMs += 0.6));
  onTestFinished(() => clock.mockRestore());
  for (let round = 0; round < ROUNDS; round++) {
    const members = round % 20 === 0 ? 40 : 3;
    try {
      await new ReentrancyRound(new Random(seed * 1_000_000 + round), members).run();
    } catch (cause) {
      throw new Error(`Seed ${seed}, round ${round}: ${(cause as Error).message}`, { cause });
    }
  }
  expect(await unhandled.settle()).toEqual([]);
});
