import { describe, test } from 'vitest';
import { useFakeClusters } from '../support/cluster-nodes.js';
import { ClusterModel } from '../support/cluster-model.js';
import { Random } from '../support/random.js';
import { runs } from '../support/runs.js';

/** Steps of all runs of one kind. */
const STEPS = runs({ quick: 100, ci: 1_000 }, 'CLUSTER_MODEL_STEPS');
const STEPS_OF_A_RUN = Math.min(250, STEPS);
const seeds = Array.from({ length: Math.ceil(STEPS / STEPS_OF_A_RUN) }, (_, index) => index + 1);
/** A run takes long because its fake time has many heartbeats. */
const TIMEOUT_MS = 60_000;

describe('a cluster, whatever happens', { timeout: TIMEOUT_MS }, () => {
  useFakeClusters();

  test.each(seeds)(
    'every message is delivered once and in order, and the cluster recovers from every fault (seed %i)',
    (seed) => new ClusterModel(new Random(seed), { isExclusive: false, isLossy: false }).run(STEPS_OF_A_RUN),
  );

  test.each(seeds)(
    'deliveries stay in order and the cluster recovers although messages are lost and doubled (seed %i)',
    (seed) => new ClusterModel(new Random(seed), { isExclusive: false, isLossy: true }).run(STEPS_OF_A_RUN),
  );

  test.each(seeds)(
    'one connection of each id remains when the newest replaces the others (seed %i)',
    (seed) => new ClusterModel(new Random(seed), { isExclusive: true, isLossy: false }).run(STEPS_OF_A_RUN),
  );

  test.each(seeds)(
    'one connection of each id remains although messages are lost and doubled (seed %i)',
    (seed) => new ClusterModel(new Random(seed), { isExclusive: true, isLossy: true }).run(STEPS_OF_A_RUN),
  );

  test.each(seeds)(
    'one connection of each id remains if the broker keeps no order between nodes (seed %i)',
    (seed) => {
      const faults = { isExclusive: true, isLossy: false, isUnordered: true };
      return new ClusterModel(new Random(seed), faults).run(STEPS_OF_A_RUN);
    },
  );

  test.each(seeds)(
    'one connection of each id remains although messages are lost, doubled and in no common order (seed %i)',
    (seed) => {
      const faults = { isExclusive: true, isLossy: true, isUnordered: true };
      return new ClusterModel(new Random(seed), faults).run(STEPS_OF_A_RUN);
    },
  );
});
