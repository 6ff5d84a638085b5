import type { EventEmitter } from 'node:events';
import { DEFAULT_CLOSE_TIMEOUT_MS, type RateDecision, type RateLimitSettings } from '../options.js';
import { hasOtherListeners } from '../sockets/events.js';
import { wheel } from '../liveness/timing-wheel.js';
import { UserCode, type PoolLink } from '../user-code.js';
import { byteLengthOf, decodeMessage, isBlob, type ReceivedMessage } from '../wire/message.js';
import { HeldMessages, type HeldMessagesOwner } from './held-messages.js';
import { TokenBucket } from './token-bucket.js';

interface Pausable {
  pause(): void;
  resume(): void;
  readonly isPaused?: unknown;
}

/**
 * Messages on their way in. Those that arrive before the first `message` listener are held; from the moment at which
 * closing begins, none is delivered.
 */
export abstract class Inbound extends UserCode implements HeldMessagesOwner {
  #held: HeldMessages | undefined;
  /** What is left of the rate limit, if there is one. */
  #bucket: TokenBucket | undefined;
  /** Nothing more is read from the socket in this turn of the event loop. */
  #hasHadItsTurn = false;
  /** Its owner had paused the socket before we did, and will resume it. */
  #wasPaused = false;
  /** No listener came in time: nothing is held any more. */
  #isUnwanted = false;
  /** Flooding: silent, as it sent too much; it may still be sending. */
  #mode: 'open' | 'draining' | 'silent' | 'flooding' = 'open';

  /** Schedules a call of `checkHeld` for about that time. */
  abstract schedule(atMs: number): void;
  /** The socket has closed, or was released. */
  abstract get isGone(): boolean;
  /** The client has sent more than it may: closes it, unless it is being closed already. */
  protected abstract closeFlooding(): void;
  /** The socket has closed, but what it brought is still to be delivered. */
  protected abstract closedEarly(): void;
  /** The socket has closed, and nothing waits any more. */
  abstract handleClose(code: number, reason: unknown): void;

  get wantsMessages(): boolean {
    return this.facade.listenerCount('message') > 0;
  }

  protected receive(data: unknown, isBinary: boolean): void {
    if (this.isSilent) {
      this.ignore(1);
      if (this.#mode === 'flooding') this.endTurn();
      return;
    }
    // From here on the path of a message that is simply delivered looks at each thing once.
    const isBytes = data instanceof Uint8Array;
    const byteLength = isBytes ? data.length : byteLengthOf(data);
    const { pool } = this;
    let isLimited = false;
    if (this.#bucket !== undefined && pool !== undefined) {
      // Before it is decoded: a message that is dropped should cost little.
      if (this.dropsUnseen(this.#bucket, pool)) return;
      const decision = this.limit(this.#bucket, pool, byteLength);
      if (decision === 'drop') {
        this.drop();
        return;
      }
      isLimited = decision === 'pause';
    }
    if (!isBytes && isBlob(data)) this.keepBlob(data, isLimited);
    else if (this.#held === undefined && !isLimited && this.wantsMessages)
      this.deliver(decodeMessage(data, isBinary), isBinary, byteLength);
    else this.receiveEarly(decodeMessage(data, isBinary), isBinary, byteLength, isLimited);
  }

  private drop(): void {
    this.ignore(1);
    this.endTurn();
  }

  private receiveEarly(
    message: ReceivedMessage,
    isBinary: boolean,
    byteLength: number,
    isLimited: boolean,
  ): void {
    if (this.mayKeep) this.keep(message, isBinary, byteLength, isLimited);
    else this.ignore(1);
  }

  private get mayKeep(): boolean {
    return this.#held !== undefined || this.wantsMessages || this.mayHold;
  }

  private keepBlob(blob: Blob, isLimited: boolean): void {
    if (!this.mayKeep || !this.hold().addBlob(blob, isLimited)) this.ignore(1);
  }

  private keep(message: ReceivedMessage, isBinary: boolean, byteLength: number, isLimited: boolean): void {
    const held = this.hold();
    const isBehindOthers = held.hasLimited;
    if (!held.add(message, isBinary, byteLength, isLimited)) this.ignore(1);
    // Normally the listener that came has released them; but `removeAllListeners()` takes that hook away too.
    if (!isBehindOthers) held.release();
  }

  deliver(message: ReceivedMessage, isBinary: boolean, byteLength: number): void {
    const { counters } = this;
    if (counters !== undefined) {
      counters.messagesReceived++;
      counters.bytesReceived += byteLength;
    }
    this.#isUnwanted = false;
    this.emitMessage(message, isBinary);
  }

  // ---------------------------------------------------------------- rate limit

  protected startRateLimit(limit: RateLimitSettings | undefined): void {
    this.#bucket = limit && new TokenBucket(limit, performance.now());
  }

  /** What waits for the limit is delivered soon; not now, as this must not run user code. */
  protected endRateLimit(): void {
    this.#bucket = undefined;
    if (this.#held?.hasLimited) this.schedule(wheel.nowMs);
  }

  /** Drops one of a flood that one read has brought. The policy is not asked: that costs ten times as much as the rest. */
  private dropsUnseen(bucket: TokenBucket, { settings, counters }: PoolLink): boolean {
    if (!this.#hasHadItsTurn || settings.rateLimit?.onExceeded !== 'drop' || !bucket.isStillEmpty())
      return false;
    counters.rateLimited++;
    this.ignore(1);
    return true;
  }

  /** What becomes of a message that has just arrived; 'pause': it waits. */
  private limit(bucket: TokenBucket, pool: PoolLink, byteLength: number): Exclude<RateDecision, 'close'> {
    const isBehindOthers = this.#held?.hasLimited === true;
    if (!isBehindOthers && bucket.take(byteLength, performance.now())) return 'accept';
    pool.counters.rateLimited++;
    if (isBehindOthers) return 'pause';
    const decision = pool.onExceeded(this.facade, byteLength);
    // A function that decides may have closed or released the connection.
    if (this.isGone || this.isSilent) return 'drop';
    if (decision !== 'close') return decision;
    this.#mode = 'flooding';
    this.dropHeld();
    this.closeFlooding();
    return 'drop';
  }

  /**
   * Lets the other sockets have their turn before more is read from this one. Node reads up to 2 MiB from a socket at a
   * time: a flood would hold the event loop for as long as that takes, even if all of it is dropped.
   */
  private endTurn(): void {
    if (this.#hasHadItsTurn || this.isPaused) return;
    this.#hasHadItsTurn = this.pause();
    if (this.#hasHadItsTurn) setImmediate(() => this.startTurn());
  }

  protected startTurn(): void {
    if (!this.#hasHadItsTurn) return;
    this.#hasHadItsTurn = false;
    if (!this.isPaused) this.resume();
  }

  admit(byteLength: number): boolean {
    if (this.#bucket?.takeWaiting(byteLength, performance.now()) !== false) return true;
    this.schedule(wheel.nowMs + this.#bucket.waitMs(byteLength));
    return false;
  }

  // ---------------------------------------------------------------- closing

  /** A drain: messages are delivered until the socket has closed. */
  protected receiveUntilClosed(): void {
    this.#mode = 'draining';
  }

  /** Closing has begun: nothing is delivered any more, except during a drain. */
  protected endReceiving(): void {
    if (this.#mode === 'open') this.#mode = 'silent';
    // A socket that we have paused would not read the answer to our close frame.
    if (this.isSilent || !this.wantsMessages) this.dropHeld();
  }

  /** The connection is ended at once: nothing is delivered any more, not even what waits. */
  protected stopReceiving(): void {
    if (this.#mode !== 'flooding') this.#mode = 'silent';
    this.dropHeld();
  }

  private get isSilent(): boolean {
    return this.#mode === 'silent' || this.#mode === 'flooding';
  }

  /** What is held is not wanted any more. */
  protected dropHeld(): void {
    if (this.#held === undefined) return;
    this.ignore(this.#held.length);
    this.#held.drop();
    this.emptied();
  }

  /**
   * The socket has closed. While messages that it brought before wait for the rate limit, so does its close: all at once
   * they would be the flood that the limit is there to prevent.
   *
   * @returns whether the close waits; `handleClose` is called again
   */
  protected holdClose(code: number, reason: unknown): boolean {
    if (this.isCloseHeld) return true;
    if (!this.#held?.hasLimited || !this.wantsMessages) return false;
    this.#held.close = { code, reason };
    this.receiveUntilClosed();
    this.closedEarly();
    return true;
  }

  protected get isCloseHeld(): boolean {
    return this.#held?.close !== undefined;
  }

  /** The socket has closed: what is held and wanted is still delivered. */
  protected deliverHeld(): void {
    this.#held?.release();
    this.dropHeld();
  }

  emptied(): void {
    if (this.#held === undefined) return;
    const { close, onNewListener } = this.#held;
    emitterOf(this.facade).off('newListener', onNewListener);
    this.#held = undefined;
    if (close !== undefined) this.handleClose(close.code, close.reason);
  }

  /** Gives up messages that nobody has listened for in time. */
  protected checkHeld(nowMs: number): void {
    if (this.#held === undefined) return;
    if (this.wantsMessages) {
      this.#held.untilMs = nowMs + this.closeTimeoutMs;
      this.#held.release();
    } else if (nowMs >= this.#held.untilMs) {
      this.#isUnwanted = true;
      this.dropHeld();
    }
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- both may have emptied it
    if (this.#held !== undefined) this.schedule(this.#held.untilMs);
  }

  /** We do not read from the socket at present, so that the peer's silence says nothing. */
  get isPaused(): boolean {
    return this.#held?.isPaused === true;
  }

  pause(): boolean {
    const socket = this.socket as Partial<Pausable>;
    if (typeof socket.pause !== 'function' || typeof socket.resume !== 'function') return false;
    if (!this.#hasHadItsTurn) this.#wasPaused = socket.isPaused === true;
    try {
      socket.pause();
    } catch (error) {
      this.failed(error);
      return false;
    }
    // The `ws` of Bun has the method, and it does nothing.
    return socket.isPaused !== false;
  }

  resume(): void {
    if (this.#wasPaused) return;
    try {
      (this.socket as Pausable).resume();
    } catch (error) {
      this.failed(error);
    }
  }

  /** A socket on which somebody else listens is left alone. */
  private get mayHold(): boolean {
    return !this.#isUnwanted && !hasOtherListeners(this.socket);
  }

  /** How long a peer may take to close, and how long messages are held without a listener. */
  protected get closeTimeoutMs(): number {
    return this.pool?.settings.closeTimeout ?? DEFAULT_CLOSE_TIMEOUT_MS;
  }

  private hold(): HeldMessages {
    if (this.#held !== undefined) return this.#held;
    const untilMs = wheel.nowMs + this.closeTimeoutMs;
    const held = new HeldMessages(this, untilMs);
    this.schedule(untilMs);
    emitterOf(this.facade).on('newListener', held.onNewListener);
    return (this.#held = held);
  }

  private ignore(count: number): void {
    if (this.counters !== undefined) this.counters.messagesIgnored += count;
  }
}

/** Node's own events are not among those that a `Connection` declares. */
function emitterOf(facade: EventEmitter): EventEmitter {
  return facade;
}
