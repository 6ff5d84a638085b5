/** What the cluster layer of a pool has done. Counters, unless marked as a gauge. */
export interface ClusterStats {
  /** Batches published. */
  readonly batches: number;
  /** Messages, closes and requests handed to the broker in them. */
  readonly messages: number;
  /** Size of those batches in bytes. */
  readonly bytes: number;
  /** Batches received from other nodes. */
  readonly received: number;
  /** Size of those batches in bytes. */
  readonly receivedBytes: number;
  /** Batches of this node that came back. */
  readonly echoes: number;
  /** Batches that came twice, and were dropped. */
  readonly duplicates: number;
  /** Batches of other nodes that were lost on their way here. */
  readonly gaps: number;
  /** Messages of this node that were not relayed: the broker was away for too long, too slow, or refused them. */
  readonly dropped: number;
  /** Bytes that wait for the broker, or for its confirmation. Gauge. */
  readonly queuedBytes: number;
  /** Invalid batches, which were dropped. */
  readonly invalid: number;
  /** Batches of another version, and records of an unknown type, that were skipped. */
  readonly unknown: number;
  /** From publishing to the echo, or to the answer of the broker, at the last heartbeat; 0 before. Gauge. */
  readonly roundTripMs: number;
}

/** The same while it is counted. */
export type ClusterCounters = { -readonly [Figure in Exclude<keyof ClusterStats, 'queuedBytes'>]: number };

export function newClusterCounters(): ClusterCounters {
  return {
    batches: 0,
    messages: 0,
    bytes: 0,
    received: 0,
    receivedBytes: 0,
    echoes: 0,
    duplicates: 0,
    gaps: 0,
    dropped: 0,
    invalid: 0,
    unknown: 0,
    roundTripMs: 0,
  };
}
