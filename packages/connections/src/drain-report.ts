/** What became of connections in a drain. */
export interface DrainCounts {
  /** Closed by the drain: the peer answered the close frame, or went away, within the grace period. */
  readonly closed: number;
  /** Ended without an answer to their close frame. */
  readonly terminated: number;
  /** Left by themselves, or were closing already, before their turn came. */
  readonly left: number;
}

/** The result of a drain. The counts `closed`, `terminated` and `left` add up to the connections that were there when it began. */
export interface DrainReport extends DrainCounts {
  /**
   * Closes beyond this node's share of the rate that other nodes kept at the same time: a `deadline` goes before it. 0
   * without a deadline, and if nobody else drained at a rate.
   */
  readonly beyondShare: number;
  /** From the call to the end of the last connection, in ms. */
  readonly tookMs: number;
  /** The same counts for each namespace. `JSON.stringify` shows them as an object. */
  readonly namespaces: ReadonlyMap<string, DrainCounts>;
}

/** How far a drain has come. */
export interface DrainProgress extends DrainCounts {
  /** Connections that are not gone yet. */
  readonly remaining: number;
  readonly elapsedMs: number;
}

export type MutableCounts = { -readonly [Outcome in keyof DrainCounts]: number };

export function newCounts(): MutableCounts {
  return { closed: 0, terminated: 0, left: 0 };
}

/** A map that `JSON.stringify` shows as an object. */
export class CountsByNamespace extends Map<string, MutableCounts> {
  toJSON(): Record<string, DrainCounts> {
    return Object.fromEntries(this);
  }
}
