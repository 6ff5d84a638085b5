import { exactBuffer, pooledBuffer } from '../wire/frame.js';
import type { SendingContext } from './bounded-socket.js';
import { BroadcastLog } from './broadcast-log.js';
import { PrivateMessage, type Delivery } from './delivery.js';
import { Envelope } from './envelope.js';
import { LatestValues } from './latest-values.js';
import { Override } from './override.js';
import type { Picks } from './picks.js';
import { Slice } from './slice.js';
import { Writer, type Piece } from './writer.js';

/** What an outbox knows of its namespace's fan-out. */
export interface OutboxGroup {
  /** The first log that some member has not got, and the one that grows. */
  readonly first: BroadcastLog;
  readonly last: BroadcastLog;
  /** @param isOverridden it gets broadcasts through its `send`, and does not read the log */
  add(outbox: Outbox, isOverridden: boolean): void;
  remove(outbox: Outbox): void;
  /** Schedules a flush of the outbox at the end of the turn. */
  addIrregular(outbox: Outbox): void;
}

const NO_LOG = new BroadcastLog();

/**
 * Everything that leaves one connection, in the order of the calls.
 *
 * Broadcasts are not stored here: the outbox points into the log of its namespace. Only a connection that differs from
 * the others has pieces of its own, which go before the log: see the drawing in `broadcast-log.ts`.
 *
 * One flush runs at a time. What user code sends meanwhile goes to the end.
 */
export class Outbox extends Writer {
  #override: Override | undefined;
  #group: OutboxGroup | undefined;
  /** Where it goes on reading: everything for everybody in the log from the cursor on waits for it, and the picks. */
  #log = NO_LOG;
  #cursor = 0;
  #picks: Picks | undefined;
  /** What waits before that. */
  #own: Piece[] | undefined;
  /** Bytes of these pieces, and of those that the running flush has taken and not handed over yet. */
  #ownBytes = 0;
  #isFlushing = false;
  #onEnd: (() => void) | undefined;

  /** Bytes that wait in the socket and in the current turn. */
  get bufferedBytes(): number {
    let waiting =
      this.bytesInSocket + (this.latest?.byteLength ?? 0) + this.#ownBytes + (this.#picks?.byteLength ?? 0);
    this.locate();
    for (let log: BroadcastLog | undefined = this.#log; log !== undefined; log = log.next)
      waiting += log.bytesFrom(this.#cursor);
    return waiting;
  }

  // ---------------------------------------------------------------- membership

  /** What was broadcast before does not reach it, everything from now on does. */
  join(group: OutboxGroup, context: SendingContext, isOverridden: boolean): void {
    if (isOverridden) this.ownOverride();
    this.enter(context);
    this.isLeaving = false;
    this.#group = group;
    this.joinHistory();
    group.add(this, isOverridden);
    if (isOverridden) return;
    this.#log = group.last;
    this.#cursor = this.#log.end;
  }

  /** Leaves the namespace and the pool. Everything broadcast so far still reaches it. */
  leave(): void {
    this.detach();
    this.isLeaving = true;
    this.flush();
    this.isLeaving = this.isEnded || this.#onEnd !== undefined;
    this.leaveHistory();
    this.enter(Writer.noPool);
  }

  private detach(): void {
    this.cut();
    this.#group?.remove(this);
    this.#group = undefined;
    this.#log = NO_LOG;
    this.#cursor = 0;
    this.#picks = undefined;
  }

  /**
   * Closing has begun: no broadcast reaches it from now on. Calls back when everything that was sent before has been
   * handed over and answered; after that nothing is sent.
   */
  end(then: () => void): void {
    this.#onEnd = then;
    this.detach();
    this.isLeaving = true;
    this.runOverride();
    this.flush();
  }

  protected override onAnswered(): void {
    this.tryEnd();
  }

  private tryEnd(): void {
    const then = this.#onEnd;
    if (then === undefined || this.#isFlushing || this.hasOpenAnswers || this.#override?.isBusy) return;
    this.#onEnd = undefined;
    this.isEnded = true;
    then();
  }

  /** The socket is gone: what waits has failed. */
  abandon(): void {
    this.#onEnd = undefined;
    this.die();
    this.runOverride();
    this.leave();
    this.answers.abandon();
  }

  // ---------------------------------------------------------------- private messages

  /**
   * Sends one message to this connection alone, after everything that waits for it.
   *
   * @param isClosing closing has begun: only an override that was called before may still send
   * @returns whether it was handed over, or a promise if that is known later
   */
  post(message: unknown, isClosing: boolean, conflate?: string): boolean | Promise<boolean> {
    const isExpected = this.#override?.onReturn(message) ?? false;
    if (this.isEnded || (isClosing && !isExpected)) return false;
    this.runOverride();
    const mayRelease = this.mayRelease;
    // Only the socket itself tells whether its reader is behind.
    const key = this.#override === undefined ? conflate : undefined;
    // What leaves at once may come from Node's pool, which is much cheaper. What waits may not: it would keep a slab.
    const envelope = new Envelope(message, this.isBacklogged ? exactBuffer : pooledBuffer);
    if (!this.#isFlushing && !this.hasPending && !mayRelease) return this.postNow(envelope, key);
    this.cut();
    // What user code sends before this message is admitted or refused comes after it.
    const at = this.#own?.length ?? 0;
    const cost = this.costOf(envelope.byteLength, key);
    const isFull = !this.fits(cost, this.bufferedBytes);
    if (isFull && this.#isFlushing && !this.admits(cost, this.bufferedBytes)) {
      this.outdate(key);
      return false;
    }
    const waiting = new PrivateMessage(envelope, key);
    this.push(waiting, at);
    // What can leave leaves before anything is refused.
    if (isFull || mayRelease) this.flush();
    else this.#group?.addIrregular(this);
    return waiting.outcome ?? waiting.sent;
  }

  private postNow(envelope: Envelope, key: string | undefined): boolean | Promise<boolean> {
    if (!this.mustHold(key) && this.writeOne(envelope)) return true;
    const message = new PrivateMessage(envelope, key);
    this.#isFlushing = true;
    this.sendOne(envelope, message, false, key);
    this.#isFlushing = false;
    // Whatever user code has sent meanwhile.
    this.flush();
    return message.outcome ?? message.sent;
  }

  // ---------------------------------------------------------------- latest values

  /** What is held back; something will be, and leaves when the reader has room. */
  protected override get held(): LatestValues {
    this.latest ??= new LatestValues();
    this.watch();
    return this.latest;
  }

  override hasDrained(): void {
    super.hasDrained();
    this.release();
    this.watch();
  }

  protected override release(): void {
    if (this.latest === undefined) return;
    this.cut();
    this.flush();
  }

  /** Puts what is held back and may leave before everything else that waits. */
  private unshiftHeld(): void {
    const messages = this.takeHeld();
    if (messages.length > 0) this.#own = [...messages, ...(this.#own ?? [])];
    for (const { byteLength } of messages) this.#ownBytes += byteLength;
  }

  // ---------------------------------------------------------------- an overridden send

  /** Broadcasts go to an overridden `send` at once: see `Override`. `runOverride` passes them on. */
  addToOverride(envelope: Envelope, delivery: Delivery): void {
    this.#override?.add(envelope, delivery);
  }

  runOverride(): void {
    if (this.#override === undefined) return;
    this.#override.run(() => this.isEnded);
    this.tryEnd();
  }

  /** Calls the overridden `send`: the close that follows waits for its answer, which is returned. */
  callOverride(message: unknown): unknown {
    return this.ownOverride().call(message);
  }

  private ownOverride(): Override {
    return (this.#override ??= new Override(this.owner, () => this.answers));
  }

  // ---------------------------------------------------------------- broadcasts

  /** Leaves out the message that is about to be added to the log. */
  skipNext(): void {
    this.cut();
    this.#cursor = this.#log.end + 1;
  }

  /** Some message that was broadcast to rooms waits for it. */
  get hasPicks(): boolean {
    return this.#picks !== undefined;
  }

  /**
   * Takes the message that is about to be added to that log, the last one, for some members.
   *
   * @returns `false` if it has taken it already, or reads no log
   */
  pick(log: BroadcastLog, byteLength: number): boolean {
    const picks = this.#picks ?? log.noPicks;
    if (this.#log === NO_LOG || picks.position === log.end) return false;
    this.#picks = picks.with(log.end, byteLength);
    return true;
  }

  /**
   * The shared path: all that a turn's log holds for it in one write, if nothing sets this connection apart. Nothing is
   * allocated, and no user code runs.
   *
   * @returns `false` if nothing was written, and `cut` and `flush` have to do it
   */
  writeShared(log: BroadcastLog): boolean {
    if (this.#own !== undefined || this.#isFlushing) return false;
    this.locate();
    // It joined later, or has got this log already.
    if (this.#log !== log) return true;
    const picks = this.#picks?.before(log.end);
    if (this.#cursor > log.start && log.hasFrom(log.start)) return false;
    if (!this.writeWhole(log.whole(picks))) return false;
    this.moveOn();
    return true;
  }

  /** Takes what the logs hold for it, up to the end of that one or of all, into its own pieces. */
  cut(upTo?: BroadcastLog): void {
    this.locate();
    if (upTo !== undefined && this.#log !== upTo) return;
    for (;;) {
      const log = this.#log;
      const picks = this.#picks?.before(log.end);
      if (picks !== undefined || log.hasFrom(this.#cursor)) this.push(log.from(this.#cursor, picks));
      if (log.next === undefined) {
        this.#cursor = Math.max(this.#cursor, log.end);
        this.#picks = undefined;
        return;
      }
      this.moveOn();
      if (log === upTo) return;
    }
  }

  /** It has got what this log holds for it. */
  private moveOn(): void {
    const next = this.#log.next as BroadcastLog;
    this.#log = next;
    this.#picks = this.#picks?.from(next.start, next.noPicks);
  }

  /** Some piece of its own is still being compressed and not overdue. */
  awaitsCompression(nowMs: number): boolean {
    return this.#own !== undefined && this.isCompressing(this.#own, nowMs);
  }

  /** Moves on from logs that everybody has got, and from sealed ones that hold nothing for it. */
  private locate(): void {
    if (this.#log.isDone) this.#log = (this.#group as OutboxGroup).first;
    while (this.#log.next !== undefined && !this.isPendingIn(this.#log)) this.moveOn();
  }

  private isPendingIn(log: BroadcastLog): boolean {
    return log.hasFrom(this.#cursor) || this.#picks?.before(log.end) !== undefined;
  }

  private get hasPending(): boolean {
    if (this.#own !== undefined) return true;
    this.locate();
    return this.isPendingIn(this.#log);
  }

  /** @param at its place among them; by default it is the last one */
  private push(piece: Piece, at?: number): void {
    const own = (this.#own ??= []);
    if (at === undefined || at === own.length) own.push(piece);
    else own.splice(at, 0, piece);
    this.#ownBytes += piece.byteLength;
  }

  /** Delivers its own pieces, and whatever user code adds to them meanwhile. */
  flush(): void {
    if (this.#isFlushing) return;
    this.unshiftHeld();
    this.#isFlushing = true;
    for (let pieces = this.#own; pieces !== undefined; pieces = this.#own) {
      this.#own = undefined;
      if (!this.writeTogether(pieces)) this.deliver(pieces);
      else for (const { byteLength } of pieces) this.#ownBytes -= byteLength;
      // User code has closed it: what is held back goes first.
      if (this.isLeaving) this.unshiftHeld();
    }
    this.#isFlushing = false;
    this.tryEnd();
  }

  private deliver(pieces: readonly Piece[]): void {
    for (const piece of pieces) {
      this.sendHeldFirst();
      if (pieces.length > 1 && this.writeTogether([piece])) {
        this.#ownBytes -= piece.byteLength;
      } else if (piece instanceof Slice) {
        this.sendEach(piece, ({ byteLength }) => (this.#ownBytes -= byteLength));
      } else {
        this.#ownBytes -= piece.byteLength;
        this.sendOne(piece.envelope, piece, true, piece.conflate);
      }
    }
  }
}
