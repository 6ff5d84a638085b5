/** What has something to write at the end of the current turn of the event loop. */
interface Pending {
  /** `false`: it waits for something, and adds itself again when that is there. */
  endTurn(): boolean;
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
    // What waits stays known: `flush` does not wait.
    for (const pending of this.#take()) if (!pending.endTurn()) this.#pending.add(pending);
  };

  #take(): Set<Pending> {
    const pending = this.#pending;
    this.#pending = new Set();
    return pending;
  }
}
