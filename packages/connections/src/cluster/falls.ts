import type { ClusterState, Degradation } from './cluster-info.js';
import type { ClusterCounters } from './cluster-stats.js';
import type { LocalNode } from './local-node.js';

/** Tells the user that the cluster is not `up` any more, once for each time, and that it is again. */
export class Falls {
  readonly #counters: ClusterCounters;
  readonly #local: Pick<LocalNode, 'onDegraded' | 'onRecovered' | 'onError'>;
  readonly #later: (event: () => void) => void;
  #wasUp = false;
  #fall: { readonly atMs: number; readonly dropped: number; readonly gaps: number } | undefined;

  constructor(
    counters: ClusterCounters,
    local: Pick<LocalNode, 'onDegraded' | 'onRecovered' | 'onError'>,
    later: (event: () => void) => void,
  ) {
    this.#counters = counters;
    this.#local = local;
    this.#later = later;
  }

  onState(state: ClusterState, previous: ClusterState, problem: Degradation | undefined): void {
    const { dropped, gaps } = this.#counters;
    if (state === 'up') {
      const fall = this.#fall;
      this.#wasUp = true;
      this.#fall = undefined;
      if (fall === undefined) return;
      const tookMs = performance.now() - fall.atMs;
      const recovery = { tookMs, dropped: dropped - fall.dropped, gaps: gaps - fall.gaps };
      this.#later(() => this.#local.onRecovered(recovery));
    } else if (previous === 'up' && problem !== undefined) {
      this.#fall = { atMs: performance.now(), dropped, gaps };
      this.#later(() => this.#local.onDegraded(problem));
    } else if (!this.#wasUp && previous === 'connecting' && problem?.error !== undefined) {
      // It never was up, so nothing is lost yet; but somebody should know why.
      const { error } = problem;
      this.#later(() => this.#local.onError(error));
    }
  }
}
