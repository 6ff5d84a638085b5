import { CloseCode } from '../close-codes.js';
import { coreOf, type AnyConnection } from '../connection.js';
import { wheel, type Timed } from '../liveness/timing-wheel.js';

/** How often the clock is read, in ms: it may be set, and the wheel's own hardly counts suspensions. */
const LOOK_MS = 60_000;

/** Closes a connection when the session of its client ends. */
export class Expiry implements Timed {
  /** Only the timing wheel writes it. */
  dueSlot = 0;
  readonly #connection: AnyConnection;
  readonly #atMs: number;

  /** @param atMs by the clock, in ms since the epoch */
  constructor(connection: AnyConnection, atMs: number) {
    this.#connection = connection;
    this.#atMs = atMs;
    this.onDeadline(wheel.nowMs);
  }

  cancel(): void {
    wheel.cancel(this);
  }

  onDeadline(nowMs: number): void {
    const remainingMs = this.#atMs - Date.now();
    if (remainingMs > 0) wheel.schedule(this, nowMs + Math.min(remainingMs, LOOK_MS));
    else void coreOf(this.#connection).closeReported(CloseCode.Unauthorized, 'Session expired');
  }
}
