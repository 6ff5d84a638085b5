import { CloseCode } from './close-codes.js';
import { ClosingState } from './closing-state.js';
import { Liveness, type LivenessOwner } from './liveness/liveness.js';
import { wheel, type Timed } from './liveness/timing-wheel.js';
import { DEFAULT_IDLE_TIMEOUT_MS } from './options.js';
import type { SlowDecision } from './options.js';
import { RoomMember } from './room-member.js';
import { Outbox } from './sending/outbox.js';
import { ReadyState, type Driver } from './sockets/driver.js';
import { listen, listenerOf, unlisten, type SocketListener } from './sockets/events.js';
import { driverOf } from './sockets/probe.js';
import type { Facade, PoolLink } from './user-code.js';
import { decodeReason } from './wire/message.js';

/** How long a terminated socket may take to report its close, in ms. */
const TERMINATE_TIMEOUT_MS = 1_000;
/** Extra time after the grace period for a drained connection whose overridden `close` waits, in ms. */
const OVERRIDDEN_CLOSE_MS = 1_000;

/**
 * The life of one connection, behind the public `Connection`: open, closing, closed; its deadlines, what it sends and
 * what it receives.
 */
export class ConnectionCore extends RoomMember implements SocketListener, LivenessOwner, Timed {
  /** `Connection.prototype`, to see which methods are overridden. Set by `connection.ts`. */
  static base: Facade;

  readonly outbox: Outbox;
  /** Only the timing wheel writes it. */
  dueSlot = 0;
  #state: number = ReadyState.Open;
  /** Heartbeat and idle limit, if it has any. */
  #liveness: Liveness | undefined;
  /** How it is being closed, once this side has asked for that. */
  #closing: ClosingState | undefined;

  constructor(facade: Facade) {
    super(facade);
    const { connection: socket, handlers } = facade;
    this.outbox = new Outbox(socket, driverOf(socket, handlers), this);
    if (this.driver.readyState(socket) !== ReadyState.Closed) {
      listen(socket, this.driver, this);
      return;
    }
    // Its `close` event has been missed.
    this.#state = ReadyState.Closing;
    setImmediate(() => this.handleClose(CloseCode.Abnormal, ''));
  }

  // ---------------------------------------------------------------- state

  get driver(): Driver {
    return this.outbox.driver;
  }

  /** Closing has begun, on either side. */
  override get isClosed(): boolean {
    return this.#state !== ReadyState.Open || this.driver.readyState(this.socket) > ReadyState.Open;
  }

  /** The socket has closed, or was released. */
  get isGone(): boolean {
    return this.#state === ReadyState.Closed;
  }

  /** It was ended without a closing handshake. */
  get wasTerminated(): boolean {
    return this.#closing?.wasTerminated === true;
  }

  get roundTripMs(): number | undefined {
    return this.#liveness?.roundTripMs;
  }

  get isOverridden(): boolean {
    return this.facade.send !== ConnectionCore.base.send;
  }

  get hasHandlers(): boolean {
    return this.facade.handlers !== undefined;
  }

  /** Has joined a pool, which sets the limits of its connections. */
  join(pool: PoolLink): void {
    // Rooms of another pool are not taken along.
    this.forgetRooms();
    this.pool = pool;
    this.reportsTo = pool;
    const { idleTimeout, heartbeat } = pool.settings;
    if (idleTimeout !== undefined) this.updateTimeout();
    this.startRateLimit(pool.settings.rateLimit);
    if (heartbeat !== undefined && this.driver.capabilities.ping) this.limits.startHeartbeat(heartbeat);
  }

  /** Has left the pool, and its limits. */
  leave(): void {
    if (this.pool !== undefined && this.#state !== ReadyState.Open) this.pool.counters.closing--;
    this.pool = undefined;
    this.#liveness = undefined;
    this.endRooms();
    this.endRateLimit();
  }

  private get limits(): Liveness {
    return (this.#liveness ??= new Liveness(this.socket, this.driver, this));
  }

  // ---------------------------------------------------------------- sending

  send(message: unknown, conflate?: string): boolean | Promise<boolean> {
    return this.outbox.post(message, this.isClosed, conflate);
  }

  /** Calls `send`, overridden or not; it has begun when this returns. The close that follows waits for its answer. */
  async callSend(message: unknown): Promise<boolean> {
    if (!this.isOverridden) return this.send(message);
    return (await this.outbox.callOverride(message)) !== false;
  }

  // ---------------------------------------------------------------- closing

  close(code: number, reason: string): Promise<void> {
    if (this.#state === ReadyState.Open) this.startClosing(code, reason);
    return this.#state === ReadyState.Closed ? Promise.resolve() : this.closing.whenClosed;
  }

  /**
   * Closes it for a drain: what the client sends before it sees the close is still delivered, and it is terminated
   * after the grace period even if an overridden `close` does nothing.
   */
  drain(code: number, reason: string, graceMs: number): void {
    this.receiveUntilClosed();
    this.closeWithin(code, reason, graceMs);
  }

  /**
   * Closes it on the library's behalf, and ends it after the grace period even if an overridden `close` does nothing.
   */
  closeWithin(code: number, reason: string, graceMs: number): void {
    if (this.isGone) return;
    this.endReceiving();
    const extraMs = this.facade.close === ConnectionCore.base.close ? 0 : OVERRIDDEN_CLOSE_MS;
    this.setDeadline(wheel.nowMs + graceMs + extraMs);
    void this.closeReported(code, reason);
  }

  protected override closeFlooding(): void {
    // An overridden `close` may take its time.
    if (this.#state !== ReadyState.Open || this.#closing !== undefined) return;
    this.closeWithin(CloseCode.PolicyViolation, 'Rate limit exceeded', this.closeTimeoutMs);
  }

  /** Either side is closing it already: ends it after that time at the latest. */
  limitClosing(graceMs: number): void {
    const deadlineMs = wheel.nowMs + graceMs;
    if (this.closing.deadlineMs > deadlineMs) this.setDeadline(deadlineMs);
  }

  private get closing(): ClosingState {
    return (this.#closing ??= new ClosingState());
  }

  private setDeadline(atMs: number): void {
    this.closing.deadlineMs = atMs;
    wheel.schedule(this, atMs);
  }

  private startClosing(code: number, reason: string): void {
    this.beginClosing();
    // A grace period that has begun goes on.
    if (this.closing.deadlineMs === Infinity) this.setDeadline(wheel.nowMs + this.closeTimeoutMs);
    this.outbox.end(() => this.closeSocket(code, reason));
  }

  private beginClosing(): void {
    this.#state = ReadyState.Closing;
    this.endReceiving();
    if (this.pool !== undefined) this.pool.counters.closing++;
  }

  private closeSocket(code: number, reason: string): void {
    if (this.#state === ReadyState.Closed || this.wasTerminated) return;
    try {
      const answer = this.driver.close(this.socket, code, reason);
      if (answer instanceof Promise || this.hasHandlers) void this.awaitClose(answer, code, reason);
    } catch (error) {
      this.failed(error);
      this.abort();
    }
  }

  /** Handlers of a socket without events report by their promise that it has closed. */
  private async awaitClose(answer: unknown, code: number, reason: string): Promise<void> {
    try {
      await answer;
      if (this.driver.capabilities.events === 'owner' && this.hasHandlers) this.handleClose(code, reason);
    } catch (error) {
      this.failed(error);
      this.abort();
    }
  }

  terminate(): void {
    if (this.#state === ReadyState.Closed || this.wasTerminated) return;
    if (this.#state === ReadyState.Open) this.beginClosing();
    this.closing.wasTerminated = true;
    if (this.counters) this.counters.terminated++;
    this.setDeadline(wheel.nowMs + TERMINATE_TIMEOUT_MS);
    this.outbox.abandon();
    this.stopReceiving();
    let isEnding = false;
    try {
      isEnding = this.driver.terminate(this.socket);
    } catch (error) {
      this.failed(error);
    }
    // The socket has no events, or cannot be ended: at least our side is freed.
    if (!isEnding || this.driver.capabilities.events === 'owner') this.handleClose(CloseCode.Abnormal, '');
  }

  /** Ends it on the library's behalf. An overridden `terminate` is asked first; if it fails or does nothing, this does it. */
  abort(): void {
    void this.reported(() => this.facade.terminate());
    this.terminate();
  }

  /** Lets go of the socket, which stays open and belongs to the caller again. */
  release(): void {
    if (this.#state === ReadyState.Closed) return;
    wheel.cancel(this);
    this.outbox.leave();
    unlisten(this.socket, this.driver, this);
    this.dropHeld();
    this.startTurn();
    // Closed before any listener runs, so that no pool can take it again.
    if (this.#state === ReadyState.Open && this.pool !== undefined) this.pool.counters.closing++;
    this.#state = ReadyState.Closed;
    this.pool?.onGone(this.facade, undefined, '');
    this.clearRooms();
    this.outbox.abandon();
    this.#closing?.settle();
  }

  // ---------------------------------------------------------------- what the socket tells

  handleMessage(data: unknown, isBinary: boolean = typeof data !== 'string'): void {
    if (this.#state === ReadyState.Closed) return;
    this.#liveness?.heard();
    this.receive(data, isBinary);
  }

  handleClose(code: number = CloseCode.NoStatus, reason: unknown = ''): void {
    if (this.#state === ReadyState.Closed || this.holdClose(code, reason)) return;
    this.deliverHeld();
    // A `message` listener may have terminated it.
    if (this.isGone) return;
    if (this.#state === ReadyState.Open) this.beginClosing();
    this.#state = ReadyState.Closed;
    wheel.cancel(this);
    this.outbox.abandon();
    const text = decodeReason(reason);
    this.pool?.onGone(this.facade, code, text);
    this.emit('close', code, text);
    this.clearRooms();
    this.#closing?.settle();
  }

  protected override closedEarly(): void {
    if (this.#state === ReadyState.Open) this.beginClosing();
    this.outbox.abandon();
    this.limitClosing(this.closeTimeoutMs);
  }

  handlePing(): void {
    this.#liveness?.heard();
    if (!this.isClosed) this.outbox.pinged();
  }

  handlePong(): void {
    this.#liveness?.heardPong();
    if (this.facade.listenerCount('pong') > 0) this.emit('pong');
  }

  // ---------------------------------------------------------------- deadlines

  updateTimeout(): void {
    if (this.isClosed) return;
    this.limits.startIdleLimit(this.pool?.settings.idleTimeout ?? DEFAULT_IDLE_TIMEOUT_MS);
  }

  clearTimeout(): void {
    this.#liveness?.stopIdleLimit();
  }

  closeIdle(): void {
    void this.closeReported(CloseCode.IdleTimeout, 'Idle timeout');
  }

  /** The slot of a deadline has come: held messages, closing, heartbeat or idle limit. */
  onDeadline(nowMs: number): void {
    this.checkHeld(nowMs);
    if (this.#state === ReadyState.Closed) return;
    const deadlineMs = this.#closing?.deadlineMs ?? Infinity;
    if (deadlineMs < Infinity) {
      if (nowMs < deadlineMs) wheel.schedule(this, deadlineMs);
      else if (this.isCloseHeld) this.dropHeld();
      else if (this.wasTerminated) this.handleClose(CloseCode.Abnormal, '');
      else this.abort();
      if (this.#state !== ReadyState.Open) return;
    }
    this.#liveness?.onDeadline(nowMs);
  }

  /** Schedules a call of `onDeadline`. */
  schedule(atMs: number): void {
    wheel.schedule(this, atMs);
  }

  // ---------------------------------------------------------------- what the outbox tells

  sendOverridden(message: unknown): unknown {
    return this.facade.send(message as never);
  }

  slow(byteLength: number, isNew: boolean): SlowDecision {
    return this.pool?.onSlow(this.facade, byteLength, isNew) ?? 'close';
  }

  closeSlow(): void {
    void this.closeReported(CloseCode.TryAgainLater, 'Slow reader');
  }

  drained(): void {
    this.emit('drain');
  }
}

/** The connection that a socket belongs to, if there is one. */
export function coreOfSocket(socket: unknown): ConnectionCore | undefined {
  const listener = listenerOf(socket);
  return listener instanceof ConnectionCore ? listener : undefined;
}
