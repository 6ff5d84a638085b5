import { captureRejectionSymbol, EventEmitter } from 'node:events';
import { trace, type DiagnosticsPayloads } from './diagnostics.js';
import { toError } from './errors.js';

/**
 * An emitter whose listeners cannot break it: one that throws or rejects causes an `error` event like any other
 * failure. Events are also published to `node:diagnostics_channel`.
 *
 * @typeParam Subject what an error may be about
 */
export abstract class SafeEmitter<
  Events extends Record<keyof Events, unknown[]>,
  Subject,
> extends EventEmitter<Events> {
  #hasWarned = false;

  constructor() {
    // Node then passes the rejections of async listeners to the method below.
    super({ captureRejections: true });
  }

  /** An error was reported, or a listener for errors has failed. */
  protected abstract onError(): void;

  /** What the error of a listener is about, by the first argument of its event. */
  protected abstract subjectOf(argument: unknown): Subject | undefined;

  protected emitSafely<E extends keyof Events & keyof DiagnosticsPayloads>(
    event: E,
    ...args: Events[E]
  ): void {
    trace(event, this, ...args);
    try {
      EventEmitter.prototype.emit.call(this, event, ...args);
    } catch (error) {
      this.reportError(toError(error), this.subjectOf(args[0]));
    }
  }

  /**
   * Emits an `error` event. Without a listener nothing is thrown; the first time, there is a process warning.
   *
   * @param isHandled another listener has received it
   */
  protected reportError(error: Error, subject: Subject | undefined, isHandled = false): void {
    this.onError();
    trace('error', this, error, subject);
    if (EventEmitter.prototype.listenerCount.call(this, 'error') === 0) {
      if (!isHandled) this.#warn(error);
      return;
    }
    try {
      EventEmitter.prototype.emit.call(this, 'error', error, subject);
    } catch {
      // An `error` listener that throws must not receive its own error.
      this.onError();
    }
  }

  #warn({ message, stack }: Error): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    process.emitWarning(`${message}. Listen to the 'error' event of the pool to see all errors`, {
      type: 'ConnectionsPoolWarning',
      ...(stack !== undefined && { detail: stack }),
    });
  }

  /** Called by Node for an async listener that rejects. */
  override [captureRejectionSymbol](error: Error, event: unknown, ...args: unknown[]): void {
    if (event === 'error') this.onError();
    else this.reportError(toError(error), this.subjectOf(args[0]));
  }
}
