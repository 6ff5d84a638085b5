import { ReadyState, type Driver } from '../sockets/driver.js';
import { HandlersDriver } from '../sockets/handlers.js';
import type { WsDriver } from '../sockets/ws.js';
import type { Agreement } from '../wire/agreement.js';
import { deflated, PLAIN, type Encoding } from '../wire/encoding.js';
import { concat, pooledBuffer } from '../wire/frame.js';
import { Answers, isThenable } from './answers.js';
import { BoundedSocket, type WriterOwner } from './bounded-socket.js';
import { PrivateMessage, type Tally } from './delivery.js';
import type { Envelope } from './envelope.js';
import { HistoryRun } from './history-run.js';
import { LatestValues } from './latest-values.js';
import { isLost, Slice, type EncodedSlice } from './slice.js';

const NOTHING_HELD = new LatestValues();
/** Several pieces up to this size are copied into one write, in bytes: above, a `writev` is cheaper. */
const MAX_COPIED_BYTES = 4 * 1024;
/** What waits for one connection alone: broadcasts cut out of the log, or a private message. */
export type Piece = Slice | PrivateMessage;

/**
 * The ways in which messages get out to one socket: as whole frames into a `ws` socket, through the socket's own
 * `send()`, or to handlers.
 */
export abstract class Writer extends BoundedSocket {
  /** How frames are encoded for `frames`; `undefined` if messages are left to the socket's own `send()`. */
  #encoding: Encoding | undefined;
  #run: HistoryRun | undefined;
  #answers: Answers | undefined;

  constructor(socket: unknown, driver: Driver, owner: WriterOwner) {
    super(socket, driver, owner);
    if (this.frames === undefined) return;
    const agreement = this.frames.agreementOf(this.ws);
    if (agreement === undefined) this.#encoding = PLAIN;
    else if (agreement.isStateless) this.#encoding = deflated(agreement);
  }

  /** The agreement under which one compressed message can serve many sockets. */
  get statelessAgreement(): Agreement | undefined {
    return this.#encoding?.agreement;
  }

  /** The agreement under which it shares the history of its namespace. */
  get sharedAgreement(): Agreement | undefined {
    return this.#run?.agreement;
  }

  /** User code has taken messages and not answered yet. */
  protected get hasOpenAnswers(): boolean {
    return this.#answers?.isOpen ?? false;
  }

  protected get answers(): Answers {
    return (this.#answers ??= new Answers(
      (error) => this.owner.failed(error),
      () => this.onAnswered(),
    ));
  }

  /** No answer is open any more. */
  protected abstract onAnswered(): void;

  // ---------------------------------------------------------------- shared compression history

  protected joinHistory(): void {
    if (this.frames === undefined || this.context.historyBytes === 0 || this.#encoding !== undefined) return;
    const agreement = this.frames.agreementOf(this.ws);
    // zlib cannot compress for a window of 8 bits.
    if (agreement === undefined || agreement.windowBits === 8) return;
    const window = this.frames.adoptDeflate(this.ws);
    if (window === undefined) return;
    this.#run = new HistoryRun(agreement, window);
    this.#encoding = PLAIN;
  }

  protected leaveHistory(): void {
    if (this.#run === undefined) return;
    this.#run = undefined;
    this.#encoding = undefined;
  }

  /** How much of the history it holds, if less than the slice could refer to: see `HistoryRun`. */
  behindFrom(slice: Slice): number | undefined {
    return this.#run?.behindFrom(slice);
  }

  /** Whether some piece is still being compressed for it and is not overdue. */
  protected isCompressing(pieces: readonly Piece[], nowMs: number): boolean {
    if (this.#encoding === undefined) return false;
    return pieces.some((piece) => piece instanceof Slice && piece.isWaiting(nowMs));
  }

  // ---------------------------------------------------------------- whole frames

  /**
   * The shared path: the messages of a whole turn in one write. Nothing is allocated, and no user code runs.
   *
   * @returns `false` if nothing was written: something sets this connection apart
   */
  protected writeWhole(slice: Slice): boolean {
    if (!this.canWrite(slice.byteLength) || !slice.isWritable) return false;
    if (this.latest !== undefined || (slice.isConflated && this.isBehind && !this.isLeaving)) return false;
    if (this.#run !== undefined && !this.#run.isInStep(slice)) return false;
    try {
      const encoded = this.bytesOf(slice, true);
      (this.frames as WsDriver).write(this.ws, encoded.chunks);
      this.context.counters.wireBytesSent += encoded.byteLength;
      slice.recipients++;
    } catch (error) {
      this.break(error);
      slice.count('failed');
    }
    return true;
  }

  /** All pieces in one write. @returns `false` if nothing was written, and they have to be sent one by one */
  protected writeTogether(pieces: readonly Piece[]): boolean {
    let byteLength = 0;
    for (const piece of pieces) {
      if (!this.takesFramesOf(piece)) return false;
      byteLength += piece.byteLength;
    }
    if (!this.canWrite(byteLength)) return false;
    const isIdle = !this.isBacklogged;
    try {
      const chunks = pieces.flatMap((piece) => this.chunksOf(piece, isIdle));
      // Not if it has to wait: nobody else could share the copy.
      const isCopied = chunks.length > 1 && isIdle && byteLength <= MAX_COPIED_BYTES;
      this.write(isCopied ? [concat(chunks, pooledBuffer)] : chunks);
    } catch (error) {
      this.break(error);
      for (const piece of pieces) piece.count('failed');
      return true;
    }
    for (const piece of pieces) this.countWritten(piece);
    return true;
  }

  /** A single message as a frame. @returns `false` if nothing was written, and `sendOne` has to do it */
  protected writeOne(envelope: Envelope): boolean {
    const encoding = this.#encoding;
    if (encoding === undefined || envelope.frame === undefined || envelope.needsPreparation(encoding))
      return false;
    if (!this.canWrite(envelope.byteLength) || isLost(envelope)) return false;
    try {
      this.write(envelope.frameFor(encoding).chunks);
    } catch (error) {
      this.break(error);
      return false;
    }
    this.count(envelope.byteLength);
    return true;
  }

  private takesFramesOf(piece: Piece): boolean {
    if (this.#encoding === undefined || this.mustHoldSome(piece)) return false;
    if (piece instanceof Slice) return piece.isWritable;
    const { envelope } = piece;
    return envelope.frame !== undefined && !isLost(envelope) && !envelope.needsPreparation(this.#encoding);
  }

  private mustHoldSome(piece: Piece): boolean {
    if (piece instanceof Slice)
      return piece.isConflated && piece.entries.some(({ conflate }) => this.mustHold(conflate));
    return this.mustHold(piece.conflate);
  }

  private canWrite(byteLength: number): boolean {
    if (this.#encoding === undefined || this.isEnded) return false;
    return (this.frames as WsDriver).canWrite(this.ws) && this.fits(byteLength, this.waitingBytes);
  }

  private bytesOf(slice: Slice, mayPin: boolean): EncodedSlice {
    const isOfHistory = slice.first !== undefined || slice.isForeignToHistory;
    if (this.#run !== undefined && isOfHistory) return this.#run.take(slice);
    return slice.encoded(this.#encoding?.agreement, undefined, mayPin);
  }

  private chunksOf(piece: Piece, mayPin: boolean): readonly Buffer[] {
    if (piece instanceof Slice) return this.bytesOf(piece, mayPin).chunks;
    // Private messages have no part in a shared window: a secret in it could be guessed from the sizes of others.
    return piece.envelope.frameFor(this.#encoding ?? PLAIN).chunks;
  }

  private write(chunks: readonly Buffer[]): void {
    (this.frames as WsDriver).write(this.ws, chunks);
    const { counters } = this.context;
    counters.writes++;
    for (const { length } of chunks) counters.wireBytesSent += length;
  }

  private countWritten(piece: Piece): void {
    this.count(piece.byteLength, piece instanceof Slice ? piece.entries.length : 1);
    piece.count('sent');
  }

  private count(byteLength: number, messages = 1): void {
    this.context.counters.messagesSent += messages;
    this.context.counters.bytesSent += byteLength;
  }

  /** A part may be out already, and half a frame breaks the stream. */
  private break(error: unknown): void {
    this.isEnded = true;
    // Not at once: listeners may do anything, and the members of a namespace are being walked.
    queueMicrotask(() => {
      this.owner.failed(error);
      this.owner.abort();
    });
  }

  // ---------------------------------------------------------------- one message at a time

  /** The messages of the slice, one by one, in one write if the socket can do that. */
  protected sendEach(slice: Slice, onEach: (envelope: Envelope) => void): void {
    const send = (): void => {
      for (const { envelope, delivery, conflate } of slice.entries) {
        onEach(envelope);
        this.sendOne(envelope, delivery, true, conflate);
      }
    };
    if (this.frames === undefined && slice.entries.length > 1) this.driver.cork(this.socket, send);
    else send();
  }

  /**
   * Sends one message in whatever way there is, or holds it back, and counts what became of it.
   *
   * @param isDeferred the call that passed the message has returned, and the caller may have changed it
   * @param key a newer message under it may replace this one while the reader is behind
   */
  protected sendOne(envelope: Envelope, tally: Tally, isDeferred: boolean, key?: string): void {
    try {
      const { byteLength } = envelope;
      if (!this.isSendable(envelope)) tally.count('failed');
      else if (!this.admits(this.costOf(byteLength, key), this.waitingBytes)) this.drop(tally, key);
      // The policy may have sent something.
      else if (this.mustHold(key)) this.hold(envelope, tally, key);
      else this.sendNow(envelope, tally, isDeferred);
    } catch (error) {
      tally.count('failed');
      queueMicrotask(() => this.owner.failed(error));
    }
  }

  private sendNow(envelope: Envelope, tally: Tally, isDeferred: boolean): void {
    this.sendHeldFirst();
    if (this.writeOne(envelope)) tally.count('sent');
    // The policy has ended the connection, or the write has broken the stream.
    else if (this.isEnded) tally.count('failed');
    else this.record(this.hand(envelope, isDeferred), envelope.byteLength, tally);
  }

  /** User code may close the connection in the middle of a flush: what is held back is older than what is left of it. */
  protected sendHeldFirst(): void {
    if (!this.isLeaving || this.latest === undefined) return;
    for (const message of this.takeHeld()) this.sendOne(message.envelope, message, true);
  }

  private drop(tally: Tally, key: string | undefined): void {
    tally.count('dropped');
    this.outdate(key);
  }

  /** A newer value could not be kept: the older one must not arrive as if it were the latest. */
  protected outdate(key: string | undefined): void {
    if (key !== undefined && this.latest?.discard(key)) this.context.counters.superseded++;
  }

  /** What it adds to what waits. */
  protected costOf(byteLength: number, key: string | undefined): number {
    if (!this.mustHold(key)) return byteLength;
    return (this.latest ?? NOTHING_HELD).costOf(key, byteLength);
  }

  private hold(envelope: Envelope, tally: Tally, key: string): void {
    const { counters } = this.context;
    counters.conflated++;
    let message: PrivateMessage;
    if (tally instanceof PrivateMessage) {
      message = tally;
    } else {
      message = new PrivateMessage(envelope);
      tally.count('conflated');
    }
    if (this.held.hold(key, message, this.bytesGiven)) counters.superseded++;
  }

  /** What is held back; something will be. */
  protected abstract get held(): LatestValues;

  private isSendable(envelope: Envelope): boolean {
    if (this.isEnded || this.driver.readyState(this.socket) > ReadyState.Open || isLost(envelope))
      return false;
    // Inside a fragmented message of the socket's owner no other message may start (RFC 6455 §5.4).
    return this.frames === undefined || !this.frames.isInsideMessage(this.ws);
  }

  private hand(envelope: Envelope, isDeferred: boolean): unknown {
    if (this.#run !== undefined) {
      (this.frames as WsDriver).sendPlain(this.ws, envelope.body, envelope.isBinary);
      return true;
    }
    return this.driver.send(this.socket, this.bodyOf(envelope, isDeferred), envelope.isBinary);
  }

  private bodyOf(envelope: Envelope, isDeferred: boolean): unknown {
    if (!(this.driver instanceof HandlersDriver)) return envelope.body;
    return isDeferred ? envelope.deferredMessage : envelope.message;
  }

  private record(answer: unknown, byteLength: number, tally: Tally): void {
    if (answer === false) {
      tally.count('failed');
      return;
    }
    this.count(byteLength);
    this.context.counters.wireBytesSent += byteLength;
    if (isThenable(answer)) this.answers.await(answer, tally);
    else tally.count('sent');
  }
}
