import { EventEmitter } from 'node:events';
import type { Counters } from './counters.js';
import { trace, type DiagnosticsPayloads } from './diagnostics.js';
import { toError } from './errors.js';

/**
 * Emits the events of an emitter, and its listeners cannot break it: one that throws or rejects causes an `error` event
 * like any other failure. Events are also published to `node:diagnostics_channel`.
 *
 * The emitter holds it and does not extend it: subclasses of users may then have methods of any name.
 *
 * @typeParam Subject what an error may be about
 */
export class SafeEmitter<Events extends Record<keyof Events, unknown[]>, Subject> {
  readonly #emitter: EventEmitter<Events>;
  readonly #counters: Pick<Counters, 'errors'>;
  readonly #subjectOf: (argument: unknown) => Subject | undefined;
  #hasWarned = false;

  /** @param subjectOf what the error of a listener is about, by the first argument of its event */
  constructor(
    emitter: EventEmitter<Events>,
    counters: Pick<Counters, 'errors'>,
    subjectOf: (argument: unknown) => Subject | undefined,
  ) {
    this.#emitter = emitter;
    this.#counters = counters;
    this.#subjectOf = subjectOf;
  }

  emit<E extends keyof Events & keyof DiagnosticsPayloads>(event: E, ...args: Events[E]): void {
    trace(event, this.#emitter, ...args);
    try {
      EventEmitter.prototype.emit.call(this.#emitter, event, ...args);
    } catch (error) {
      this.report(toError(error), this.#subjectOf(args[0]));
    }
  }

  /**
   * Emits an `error` event. Without a listener nothing is thrown; the first time, there is a process warning.
   *
   * @param isHandled another listener has received it
   */
  report(error: Error, subject: Subject | undefined, isHandled = false): void {
    this.#counters.errors++;
    trace('error', this.#emitter, error, subject);
    if (EventEmitter.prototype.listenerCount.call(this.#emitter, 'error') === 0) {
      if (!isHandled) this.#warn(error);
      return;
    }
    try {
      EventEmitter.prototype.emit.call(this.#emitter, 'error', error, subject);
    } catch {
      // An `error` listener that throws must not receive its own error.
      this.#counters.errors++;
    }
  }

  /** An async listener has rejected. @param argument the first one of its event */
  onRejection(error: Error, event: unknown, argument: unknown): void {
    if (event === 'error') this.#counters.errors++;
    else this.report(toError(error), this.#subjectOf(argument));
  }

  #warn({ message, stack }: Error): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    process.emitWarning(`${message}. Listen to the 'error' event of the pool to see all errors`, {
      type: 'ConnectionsPoolWarning',
      ...(stack !== undefined && { detail: stack }),
    });
  }
}
