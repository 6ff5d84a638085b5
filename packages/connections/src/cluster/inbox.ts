import type { Arrival } from './incoming.js';

/**
 * What has come or happened in this turn, in its order. It is carried out at the end of the turn, as it may run code of
 * the user.
 */
export class Inbox {
  readonly #schedule: () => void;
  readonly #apply: (arrival: Arrival) => void;
  #items: (Arrival | (() => void))[] = [];
  /** The pool has left the cluster: what still arrives is ignored. */
  isClosed = false;

  constructor(schedule: () => void, apply: (arrival: Arrival) => void) {
    this.#schedule = schedule;
    this.#apply = apply;
  }

  /** A batch of another node. */
  add(arrival: Arrival): void {
    this.#add(arrival);
  }

  later(action: () => void): void {
    this.#add(action);
  }

  /** An event for the user. */
  tell(event: () => void): void {
    this.#add(() => (this.isClosed ? undefined : event()));
  }

  /** The turn ends. What this causes to happen follows at the end of the next one. */
  empty(): void {
    const items = this.#items;
    this.#items = [];
    for (const item of items) {
      if (typeof item === 'function') item();
      else if (!this.isClosed) this.#apply(item);
    }
  }

  #add(item: Arrival | (() => void)): void {
    this.#items.push(item);
    this.#schedule();
  }
}
