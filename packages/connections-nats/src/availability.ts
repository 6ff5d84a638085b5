import { watch, type NatsClient, type NatsStatus } from './client.js';
import type { RoundTrips } from './round-trips.js';

/** Before the server is asked again whether it is there, in ms. */
const RETRY_MS = 1_000;

/** What becomes of the connection. */
export interface AvailabilityEvents {
  up(): void;
  down(error: Error): void;
  warn(error: Error): void;
}

/** Whether the server is there: its connection says when it is lost, and the server's own answer when it is back. */
export class Availability {
  readonly #connection: NatsClient;
  readonly #roundTrips: RoundTrips;
  readonly #events: AvailabilityEvents;
  #isUp = false;
  #isStopped = false;
  #hasWarned = false;
  #unwatch: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(connection: NatsClient, roundTrips: RoundTrips, events: AvailabilityEvents) {
    this.#connection = connection;
    this.#roundTrips = roundTrips;
    this.#events = events;
  }

  get isUp(): boolean {
    return this.#isUp && !this.#isStopped;
  }

  start(): void {
    this.#unwatch = watch(this.#connection, (status) => this.#onStatus(status));
    const onClosed = (reason: unknown): void =>
      this.#onDown(reason instanceof Error ? reason : new Error('NATS: the connection is closed'));
    this.#connection.closed().then(onClosed, onClosed);
    void this.#connect();
  }

  /** Goes down, and up again as soon as the server answers. */
  restart(error: Error): void {
    this.#onDown(error);
    void this.#connect();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#unwatch?.();
    this.#roundTrips.fail(new Error('The adapter is closed'));
  }

  #onStatus(status: NatsStatus): void {
    if (status.type === 'disconnect') this.#onDown(new Error('NATS: the connection is lost'));
    else if (status.type === 'reconnect') void this.#connect();
    else if (status.type === 'error')
      this.#warnOnce(status.error ?? new Error(`NATS: ${String(status.data)}`));
  }

  /** Announces the connection once the server has answered. It subscribes again by itself, before that. */
  async #connect(): Promise<void> {
    clearTimeout(this.#timer);
    if (this.#isUp || this.#connection.isClosed()) return;
    try {
      await this.#roundTrips.confirm();
    } catch {
      // Disconnected, and `reconnect` will come; or connected to a server that takes too long, and nothing will.
      if (!this.#isStopped) this.#timer = setTimeout(() => void this.#connect(), RETRY_MS).unref();
      return;
    }
    this.#onAnswer();
  }

  #onAnswer(): void {
    if (this.#isStopped || this.#isUp) return;
    this.#isUp = true;
    this.#hasWarned = false;
    this.#events.up();
  }

  #onDown(error: Error): void {
    if (this.#isStopped) return;
    this.#isUp = false;
    this.#roundTrips.fail(error);
    this.#events.down(error);
  }

  /** A server that denies one thing denies it each time. */
  #warnOnce(error: Error): void {
    if (this.#hasWarned || this.#isStopped) return;
    this.#hasWarned = true;
    this.#events.warn(error);
  }
}
