import type { Presence } from './wire.js';

/**
 * What a node has closed counts for the others until that long after its last close, in ms: the second in which a rate is
 * kept, and the time that its word takes to reach them.
 */
export const AFTERMATH_MS = 1_250;

/** Another node that closes connections, or did a moment ago. */
export interface Drainer {
  readonly id: string;
  /** `undefined`: a deadline sets its pace. */
  readonly maxPerSecond: number | undefined;
}

/** The other nodes, as a drain of this one sees them. */
export interface Company {
  /** This node. */
  readonly id: string;
  /** There may be others, and this node can hear them. */
  readonly isPossible: boolean;
  /** How long until all of them have answered the hello of this node, in ms; 0 if it has been there for a while. */
  readonly settlesInMs: number;
  readonly drainers: readonly Drainer[];
}

/** No other nodes. */
export const ALONE: Company = { id: '', isPossible: false, settlesInMs: 0, drainers: [] };

interface Known {
  readonly drainer: Drainer;
  readonly heardAtMs: number;
  /** When it had nobody left to close, or was gone. */
  endedAtMs: number | undefined;
}

/**
 * Which other nodes drain. Each of them counts from the moment at which it says so until `AFTERMATH_MS` after its end: it
 * says that it is done, leaves, or is silent for `nodeTimeout`. So what this node may close falls at once and rises late.
 */
export class Drainers {
  readonly #silenceMs: number;
  readonly #known = new Map<string, Known>();

  constructor(nodeTimeoutMs: number) {
    this.#silenceMs = nodeTimeoutMs;
  }

  /** A node has told about itself. */
  onPresence(id: string, draining: Presence['draining']): void {
    if (draining === undefined || draining.remaining === 0) {
      this.onGone(id);
      return;
    }
    const drainer = { id, maxPerSecond: draining.maxPerSecond === 0 ? undefined : draining.maxPerSecond };
    this.#known.set(id, { drainer, heardAtMs: performance.now(), endedAtMs: undefined });
  }

  /** A node closes nobody any more. */
  onGone(id: string): void {
    const known = this.#known.get(id);
    if (known !== undefined) known.endedAtMs ??= performance.now();
  }

  at(nowMs: number): Drainer[] {
    return [...this.#known.values()]
      .filter((known) => this.#counts(known, nowMs))
      .map(({ drainer }) => drainer);
  }

  /** Forgets those that count no more. */
  sweep(nowMs: number): void {
    for (const [id, known] of this.#known) if (!this.#counts(known, nowMs)) this.#known.delete(id);
  }

  clear(): void {
    this.#known.clear();
  }

  /** Also while the broker is away, when nobody is declared lost. */
  #counts({ heardAtMs, endedAtMs = heardAtMs + this.#silenceMs }: Known, nowMs: number): boolean {
    return nowMs < endedAtMs + AFTERMATH_MS;
  }
}
