import { randomBytes } from 'node:crypto';

/** Sequences of channels on which nothing was published for that long are forgotten, in ms. */
const FORGET_MS = 60_000;
/** Earlier ids whose batches are still told from those of others: they come back within a moment. */
const MAX_FORMER = 8;

/**
 * A channel that was forgotten begins again at a multiple of this number. If its first batch is lost, receivers know from
 * the next one how many were lost since then, however far the numbers have jumped.
 */
export const SEQUENCE_STEP = 2 ** 20;

/** Where this node stands on a channel. */
export interface Sequence {
  readonly first: number;
  next: number;
  /** Nothing of it has reached the broker yet. */
  starts: boolean;
  usedAtMs: number;
}

/** Whose a batch is: of this node, of another one, or of another one that has the same id. */
export type Origin = 'own' | 'other' | 'clone';

/** The id under which this node publishes, and the numbers of its batches. */
export class NodeIdentity {
  /** 8 bytes. */
  bytes: Buffer;
  /** The same, as others write it. */
  id: string;
  #sequences = new Map<string, Sequence>();
  /** The lowest number that no channel has used: where a channel begins. Random, so that it tells clones apart. */
  #unused = Math.floor(Math.random() * 2 ** 47);
  /** What was published under earlier ids. */
  readonly #former = new Map<string, ReadonlyMap<string, Sequence>>();

  constructor(bytes: Buffer = randomBytes(8)) {
    this.bytes = bytes;
    this.id = bytes.toString('hex');
  }

  /** The state of a channel; its `next` is free. */
  sequenceOf(channel: string): Sequence {
    let sequence = this.#sequences.get(channel);
    if (sequence === undefined) {
      sequence = { first: this.#unused, next: this.#unused, starts: true, usedAtMs: 0 };
      this.#sequences.set(channel, sequence);
    }
    return sequence;
  }

  originOf(sender: string, channel: string, sequence: number): Origin {
    if (sender !== this.id) {
      const former = this.#former.get(sender)?.get(channel);
      return former !== undefined && isWithin(former, sequence) ? 'own' : 'other';
    }
    const own = this.#sequences.get(channel);
    // This node cannot tell what it has forgotten from what a clone says.
    return own === undefined || isWithin(own, sequence) ? 'own' : 'clone';
  }

  /** Another node has the same id: from now on this one has another. Its numbers go on. */
  rename(): void {
    this.#former.set(this.id, this.#sequences);
    const [oldest] = this.#former.keys();
    if (this.#former.size > MAX_FORMER && oldest !== undefined) this.#former.delete(oldest);
    for (const { next } of this.#sequences.values()) this.#unused = Math.max(this.#unused, next);
    this.#sequences = new Map();
    this.bytes = randomBytes(8);
    this.id = this.bytes.toString('hex');
  }

  /** Forgets channels that are not used any more, so that the names of namespaces do not fill the memory. */
  forget(nowMs: number): void {
    for (const [channel, { next, usedAtMs }] of this.#sequences) {
      if (nowMs - usedAtMs < FORGET_MS) continue;
      this.#sequences.delete(channel);
      this.#unused = Math.max(this.#unused, Math.ceil(next / SEQUENCE_STEP) * SEQUENCE_STEP);
    }
  }
}

function isWithin({ first, next }: Sequence, sequence: number): boolean {
  return sequence >= first && sequence < next;
}
