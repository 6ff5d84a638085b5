import type { Tally } from './delivery.js';

/** Messages that user code has taken and not answered yet: handlers and overridden sends may answer with a promise. */
export class Answers {
  readonly #open = new Set<Tally>();
  readonly #onError: (error: unknown) => void;
  readonly #onAnswered: () => void;
  #isAbandoned = false;

  /**
   * @param onError a promise has rejected
   * @param onAnswered no answer is open any more
   */
  constructor(onError: (error: unknown) => void, onAnswered: () => void) {
    this.#onError = onError;
    this.#onAnswered = onAnswered;
  }

  get isOpen(): boolean {
    return this.#open.size > 0;
  }

  /** Waits for a promise, or whatever else has a `then`, and counts the message as it says. */
  await(answer: PromiseLike<unknown>, tally: Tally, onError = this.#onError): void {
    // User code may end its connection before it answers.
    if (this.#isAbandoned) tally.count('failed');
    else this.#open.add(tally);
    // One promise for all kinds of thenables: theirs may throw, answer twice, or answer at once.
    Promise.resolve(answer).then(
      (isSent) => this.#settle(tally, isSent !== false),
      (error: unknown) => {
        this.#settle(tally, false);
        onError(error);
      },
    );
  }

  /** The connection is gone: answers that still come are ignored. */
  abandon(): void {
    this.#isAbandoned = true;
    const open = [...this.#open];
    this.#open.clear();
    for (const tally of open) tally.count('failed');
  }

  #settle(tally: Tally, isSent: boolean): void {
    if (!this.#open.delete(tally)) return;
    tally.count(isSent ? 'sent' : 'failed');
    if (this.#open.size === 0) this.#onAnswered();
  }
}

/** @throws whatever a getter called `then` throws */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
