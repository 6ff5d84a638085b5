/** What has something to write at the end of the current turn of the event loop. */
interface Pending {
  endTurn(): void;
  flush(): void;
}

/**
 * The end of a turn: `setImmediate`, not a microtask. Messages from many sockets are handled in one poll phase of
 * the loop, and only its end sees them all.
 */
export class Turn {
  #pending = new Set<Pending>();
  #isScheduled = false;

  add(pending: Pending): void {
    this.#pending.add(pending);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(this.#end);
  }

  /** Writes what waits, now. */
  flush(): void {
    for (const pending of this.#take()) pending.flush();
  }

  #end = (): void => {
    this.#isScheduled = false;
    for (const pending of this.#take()) pending.endTurn();
  };

  #take(): Set<Pending> {
    const pending = this.#pending;
    this.#pending = new Set();
    return pending;
  }
}
