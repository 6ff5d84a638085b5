import type { NatsClient } from './client.js';

/** The server has this long to answer, in ms. */
const ANSWER_TIMEOUT_MS = 5_000;

/**
 * Waits for the server to have read everything that was sent. It answers nothing but `PING`, which `flush()` sends.
 * Calls share their round trips: one is under way, and all calls meanwhile wait for the one after it.
 */
export class RoundTrips {
  readonly #connection: NatsClient;
  readonly #failures = new Set<(error: Error) => void>();
  #current: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(connection: NatsClient) {
    this.#connection = connection;
  }

  /** Resolves when the server has read all until now. Rejects when that takes too long, or with `fail`. */
  confirm(): Promise<void> {
    const next = (this.#next ??= this.#begin());
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => {
        clearTimeout(timer);
        this.#failures.delete(fail);
        reject(error);
      };
      // The error is made late: its stack trace costs more than the rest.
      const timer = setTimeout(() => fail(new Error('NATS has not answered in time')), ANSWER_TIMEOUT_MS);
      this.#failures.add(fail);
      next.then(() => {
        clearTimeout(timer);
        this.#failures.delete(fail);
        resolve();
      }, fail);
    });
  }

  /** Rejects all that still wait. */
  fail(error: Error): void {
    for (const fail of this.#failures) fail(error);
  }

  async #begin(): Promise<void> {
    await this.#current?.catch(() => undefined);
    this.#next = undefined;
    this.#current = this.#connection.flush();
    await this.#current;
  }
}
