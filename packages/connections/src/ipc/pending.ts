/** The primary has this long to answer a command, in ms. */
const ANSWER_TIMEOUT_MS = 5_000;

/** Commands that wait for their answers. Each settles within the time limit, and at once when the connection is lost. */
export class Pending {
  readonly #failures = new Set<(error: Error) => void>();

  /** Settles as the command does, unless it takes too long or `fail` is called. */
  settle<Answer>(command: Promise<Answer>): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => {
        clearTimeout(timer);
        this.#failures.delete(fail);
        reject(error);
      };
      // The error is made late: its stack trace costs more than the rest.
      const timer = setTimeout(
        () => fail(new Error('The primary has not answered in time')),
        ANSWER_TIMEOUT_MS,
      );
      this.#failures.add(fail);
      command.then((answer) => {
        clearTimeout(timer);
        this.#failures.delete(fail);
        resolve(answer);
      }, fail);
    });
  }

  /** Rejects all that still wait. */
  fail(error: Error): void {
    for (const fail of this.#failures) fail(error);
  }
}
