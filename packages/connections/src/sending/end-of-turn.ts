import { inOwnContext } from '../own-context.js';

/** What a flush has left: nothing, messages that wait for their compression, or more than there was time for. */
export type Flushed = 'all' | 'waiting' | 'some';

/** Something that has messages to write at the end of the current turn of the event loop. */
export interface Flushable {
  /** Writes what is ready until the deadline, on the clock of `performance.now()`; `Infinity`: everything, now. */
  flush(deadlineMs: number): Flushed;
}

/** Something that is done before all writes of a turn. */
export interface First {
  flush(): void;
}

/**
 * The end of a turn: `setImmediate`, not a microtask. Messages that arrive from many sockets are handled in one poll
 * phase of the loop, and only its end sees them all.
 *
 * A large fan-out does not hold up the loop: after `maxFlushMs` the rest is left to the next turn. Only what one connection
 * alone has to be sent is not divided.
 */
export class EndOfTurn {
  readonly #maxFlushMs: number;
  /** They are flushed before all others, at every end: they reach other nodes, and may give work to the others. */
  readonly #first = new Set<First>();
  readonly #pending = new Set<Flushable>();
  /** They add themselves again when their messages are compressed. */
  readonly #waiting = new Set<Flushable>();
  #isScheduled = false;

  constructor(maxFlushMs: number) {
    this.#maxFlushMs = maxFlushMs;
  }

  add(flushable: Flushable): void {
    this.#waiting.delete(flushable);
    this.#pending.add(flushable);
    this.#schedule();
  }

  /** Adds one that is flushed before the others. */
  addFirst(flushable: First): void {
    this.#first.add(flushable);
    this.#schedule();
  }

  /** Writes everything that waits, now, however long it takes. */
  flush(): void {
    this.#flushFirst();
    const flushables = [...this.#pending, ...this.#waiting];
    this.#pending.clear();
    this.#waiting.clear();
    for (const flushable of flushables) flushable.flush(Infinity);
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    inOwnContext(() => setImmediate(this.#end));
  }

  readonly #end = (): void => {
    this.#isScheduled = false;
    this.#flushFirst();
    const deadlineMs = performance.now() + this.#maxFlushMs;
    for (const flushable of [...this.#pending]) {
      this.#pending.delete(flushable);
      const flushed = flushable.flush(deadlineMs);
      if (flushed === 'waiting') this.#waiting.add(flushable);
      // After the others in the next turn: one busy namespace must not starve them.
      if (flushed === 'some') this.#pending.add(flushable);
      if (performance.now() > deadlineMs) break;
    }
    if (this.#pending.size > 0) this.#schedule();
  };

  #flushFirst(): void {
    for (const flushable of [...this.#first]) {
      this.#first.delete(flushable);
      flushable.flush();
    }
  }
}
