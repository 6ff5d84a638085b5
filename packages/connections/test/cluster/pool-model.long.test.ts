import { describe, test } from 'vitest';
import { useFakeClusters } from '../support/cluster-nodes.js';
import { failOnUncaught } from '../support/no-uncaught.js';
import { PoolModel } from '../support/pool-model.js';
import { Random } from '../support/random.js';
import { runs } from '../support/runs.js';

/** Steps of one run. Set it to 20000 for a long one. */
const STEPS = runs({ quick: 120, ci: 250 }, 'POOL_MODEL_STEPS');
/** The first seed. */
const SEED = Number(process.env['POOL_MODEL_SEED'] ?? 1);
const seeds = Array.from({ length: runs({ quick: 1, ci: 2 }) }, (_, index) => SEED + index);
const TIMEOUT_MS = Math.max(60_000, STEPS * 60);

describe('pools of a cluster, whatever happens', { timeout: TIMEOUT_MS }, () => {
  failOnUncaught();
  useFakeClusters();

  describe.each([
    { isExclusive: false, isLossy: false },
    { isExclusive: false, isLossy: true },
    { isExclusive: true, isLossy: false },
    { isExclusive: true, isLossy: true },
  ])('exclusive ids: $isExclusive, messages are lost and doubled: $isLossy', (faults) => {
    const kind = `exclusive ids: ${faults.isExclusive}, lossy: ${faults.isLossy}`;
    test.each(seeds)(
      `pools deliver in order and once, confirm what they have delivered, and recover (seed %i, ${kind})`,
      (seed) => new PoolModel(new Random(seed), faults).run(STEPS),
    );
  });
});
