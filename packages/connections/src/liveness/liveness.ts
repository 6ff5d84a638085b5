import type { Counters } from '../counters.js';
import type { Driver } from '../sockets/driver.js';
import { Heartbeat, nextMoment } from './heartbeat.js';
import { SignsOfLife } from './signs-of-life.js';
import { wheel } from './timing-wheel.js';

/** The connection that a `Liveness` belongs to. None of this throws. */
export interface LivenessOwner {
  /** Closing has begun. */
  readonly isClosed: boolean;
  /** We do not read from the socket at present. */
  readonly isPaused: boolean;
  readonly counters: Counters | undefined;
  /** Schedules a call of `Liveness.onDeadline` for about that time. */
  schedule(atMs: number): void;
  /** The socket failed. */
  failed(error: unknown): void;
  /** The heartbeat was lost: ends the connection. */
  abort(): void;
  /** The idle limit has passed: closes the connection. */
  closeIdle(): void;
}

/** Heartbeat and idle limit of one connection. Made only for connections that have one of them. */
export class Liveness {
  readonly #socket: unknown;
  readonly #driver: Driver;
  readonly #owner: LivenessOwner;
  /** One for each limit: each compares with its own last look. */
  readonly #signsForHeartbeat: SignsOfLife;
  readonly #signsForIdle: SignsOfLife;
  #heartbeat: Heartbeat | undefined;
  #heartbeatTimeoutMs = 0;
  /** 0 for none. */
  #idleTimeoutMs = 0;
  /** When anything was last received, and when anything but an answer to our heartbeat was. */
  #heardAtMs = 0;
  #activeAtMs = 0;

  constructor(socket: unknown, driver: Driver, owner: LivenessOwner) {
    this.#socket = socket;
    this.#driver = driver;
    this.#owner = owner;
    this.#signsForHeartbeat = new SignsOfLife(socket);
    this.#signsForIdle = new SignsOfLife(socket);
  }

  get roundTripMs(): number | undefined {
    return this.#heartbeat?.roundTripMs;
  }

  startHeartbeat({ interval, timeout }: { readonly interval: number; readonly timeout: number }): void {
    this.#heartbeat = new Heartbeat(interval, timeout, wheel.nowMs, nextMoment());
    this.#heartbeatTimeoutMs = timeout;
    this.#owner.schedule(this.#heartbeat.dueAtMs);
  }

  /** Starts or restarts the idle limit. */
  startIdleLimit(timeoutMs: number): void {
    this.#idleTimeoutMs = timeoutMs;
    this.#activeAtMs = wheel.nowMs;
    this.#owner.schedule(this.#activeAtMs + timeoutMs);
  }

  stopIdleLimit(): void {
    this.#idleTimeoutMs = 0;
  }

  /** Something was received. */
  heard(): void {
    if (this.#idleTimeoutMs > 0 || this.#heartbeat !== undefined)
      this.#heardAtMs = this.#activeAtMs = wheel.nowMs;
  }

  heardPong(): void {
    // The answer to our own heartbeat shows that the peer is alive, not that it is active.
    if (this.#heartbeat?.onPong()) this.#heardAtMs = wheel.nowMs;
    else this.heard();
  }

  onDeadline(nowMs: number): void {
    this.#beat(nowMs);
    this.#checkIdle(nowMs);
  }

  #beat(nowMs: number): void {
    const heartbeat = this.#heartbeat;
    if (heartbeat === undefined) return;
    const beat = heartbeat.beat(nowMs, this.#heardAtMs);
    if (beat === 'ping') this.#ping();
    else if (beat === 'dead') this.#onSilence(heartbeat, nowMs);
    if (!this.#owner.isClosed) this.#owner.schedule(heartbeat.dueAtMs);
  }

  #onSilence(heartbeat: Heartbeat, nowMs: number): void {
    if (this.#areThere(this.#signsForHeartbeat, nowMs, this.#heartbeatTimeoutMs)) {
      heartbeat.extend(nowMs);
      return;
    }
    if (this.#owner.counters) this.#owner.counters.heartbeatsLost++;
    this.#owner.abort();
  }

  #areThere(signs: SignsOfLife, nowMs: number, timeoutMs: number): boolean {
    return signs.areThere(nowMs, timeoutMs, this.#heardAtMs, this.#owner.isPaused);
  }

  #ping(): void {
    if (this.#owner.isClosed) return;
    if (this.#owner.counters) this.#owner.counters.pings++;
    try {
      this.#driver.ping(this.#socket);
    } catch (error) {
      this.#owner.failed(error);
    }
  }

  #checkIdle(nowMs: number): void {
    if (this.#idleTimeoutMs === 0 || this.#owner.isClosed) return;
    const isDue = nowMs >= this.#activeAtMs + this.#idleTimeoutMs;
    if (isDue && !this.#areThere(this.#signsForIdle, nowMs, this.#idleTimeoutMs)) {
      if (this.#owner.counters) this.#owner.counters.idleTimeouts++;
      this.#owner.closeIdle();
      return;
    }
    if (isDue) this.#activeAtMs = nowMs;
    this.#owner.schedule(this.#activeAtMs + this.#idleTimeoutMs);
  }
}
