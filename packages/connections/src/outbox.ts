/* eslint-disable max-lines -- one state machine, whose parts share every field */
import { Batch, concat } from './batch.js';
import { newCounters } from './counters.js';
import { internCompression } from './deflate.js';
import type { FanOut } from './fan-out.js';
import { pooledBuffer } from './frame.js';
import { Run } from './history.js';
import { DEFAULT_MAX_BUFFERED_BYTES } from './options.js';
import { kDrained, kFailed, kHand, kSlow, type OutboxContext, type OutboxOwner } from './outbox-owner.js';
import type { Outgoing } from './outgoing.js';
import { kTerminate } from './pool-link.js';
import { ReadyState, type SocketDriver } from './socket-driver.js';
import * as ws from './ws-socket.js';

/** For connections that are in no pool. */
const NO_POOL: OutboxContext = {
  maxBufferedBytes: DEFAULT_MAX_BUFFERED_BYTES,
  historyBytes: 0,
  counters: newCounters(),
};

/** Pieces of one connection that are copied into one write at most, in bytes: above, `writev` is cheaper. */
const MAX_COPIED_BYTES = 4 * 1024;

/** How often a socket is looked at that gives no signal of what we wait for (see `#watch` and `#hold`), in ms. */
const POLL_MS = 10;

/** A connection's own view of what waits for it. */
interface View {
  readonly pieces: Batch[];
  /** From here on the namespace's log is what waits behind the pieces. */
  cursor: number;
}

/**
 * Everything that leaves one connection, in the order of the calls.
 *
 * What its namespace broadcasts in the current turn is not stored here but in the namespace's shared log. Only
 * a connection that differs from the others (sent something private, excepted, joined meanwhile) has a view
 * of its own: the pieces up to `cursor`, and from there on the log.
 */
export class Outbox {
  readonly #socket: unknown;
  readonly #driver: SocketDriver;
  readonly #owner: OutboxOwner;
  /** What takes the messages: the socket, or the handlers that replace its `send`. */
  readonly #taker: 'socket' | 'handlers';
  /** Its `send` is overridden, and gets the broadcasts one by one. */
  readonly isOverridden: boolean;
  /** A `ws` server socket. */
  readonly #ws: ws.WsSocket | undefined;
  /** What was agreed about compression where a frame compressed on its own serves many sockets. */
  readonly compression: ws.Compression | undefined;
  /** The same where each socket keeps a context: its window is known to the deflate stream of `ws` alone. */
  readonly #contextual: ws.Compression | undefined;
  /** Unless it shares the history of its namespace. */
  #run: Run | undefined;
  #context = NO_POOL;
  #fanOut: FanOut | undefined;
  #view: View | undefined;
  #isSlow = false;
  #isDeciding = false;
  #isDead = false;
  /** Closing has begun: what is still to be sent has failed. */
  #isEnded = false;
  /** Messages of the first piece that have been delivered one by one. */
  #delivered = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    socket: unknown,
    driver: SocketDriver,
    owner: OutboxOwner,
    { hasHandlers, isOverridden }: { readonly hasHandlers: boolean; readonly isOverridden: boolean },
  ) {
    this.#socket = socket;
    this.#driver = driver;
    this.#owner = owner;
    this.#taker = hasHandlers ? 'handlers' : 'socket';
    this.isOverridden = isOverridden;
    if (hasHandlers || !ws.isWsServerSocket(socket)) return;
    const compression = ws.compressionOf(socket);
    this.#ws = socket;
    if (compression?.isStateless === false) this.#contextual = internCompression(compression);
    else this.compression = compression && internCompression(compression);
  }

  /** May be written to directly while `ws` itself is idle. */
  get #isDirect(): boolean {
    return this.#ws !== undefined && (this.#contextual === undefined || this.#run !== undefined);
  }

  /** What was agreed about compression where it shares the history of its namespace. */
  get historyCompression(): ws.Compression | undefined {
    return this.#run?.compression;
  }

  /** From where on it holds what comes before the batch, if anything and not as much as the others. */
  behindFrom(batch: Batch): number | undefined {
    const start = this.#run?.startFor(batch);
    return start !== undefined && start < batch.start ? start : undefined;
  }

  /** Its handlers get the messages, which need not be of a kind that a WebSocket takes. */
  get takesAnything(): boolean {
    return this.#taker === 'handlers';
  }

  /** Bytes that wait in the socket and in the current turn. */
  get bufferedBytes(): number {
    const view = this.#view;
    let waiting = this.#log?.bytesFrom(view?.cursor ?? 0) ?? 0;
    if (view !== undefined) for (const { byteLength } of view.pieces) waiting += byteLength;
    for (let index = 0; index < this.#delivered; index++) {
      waiting -= view?.pieces[0]?.messages[index]?.byteLength ?? 0;
    }
    return this.#bytesInSocket + waiting;
  }

  /** What is sent now may have to wait in the socket. */
  get isBacklogged(): boolean {
    return this.#ws === undefined || ws.bufferedBytes(this.#ws) > 0;
  }

  get #bytesInSocket(): number {
    // uWebSockets.js throws on any use of a socket that is gone.
    if (this.#isDead) return 0;
    return this.#ws ? ws.bufferedBytes(this.#ws) : this.#driver.bufferedAmount(this.#socket);
  }

  /** The log that it follows, if it does. */
  get #log(): FanOut | undefined {
    return this.isOverridden ? undefined : this.#fanOut;
  }

  get #hasPending(): boolean {
    const view = this.#view;
    if (view !== undefined && view.pieces.length > 0) return true;
    return this.#log !== undefined && this.#log.length > (view?.cursor ?? 0);
  }

  /** Nothing that was broadcast before reaches it, everything from now on does. */
  join(fanOut: FanOut, context: OutboxContext): void {
    this.#context = context;
    this.#fanOut = fanOut;
    this.#joinHistory();
    fanOut.add(this);
    if (!this.isOverridden && fanOut.length > 0)
      this.#view = { pieces: this.#view?.pieces ?? [], cursor: fanOut.length };
  }

  #joinHistory(): void {
    const [socket, compression] = [this.#ws, this.#contextual];
    if (socket === undefined || compression === undefined || this.#context.historyBytes === 0) return;
    // zlib cannot compress for a window of 8 bits.
    const window = compression.windowBits > 8 ? ws.adoptDeflate(socket) : undefined;
    this.#run = window && new Run(compression, window);
  }

  /** Everything broadcast so far still reaches it, nothing from now on does. */
  leave(): void {
    this.settle();
    this.#fanOut?.remove(this);
    this.#fanOut = undefined;
    this.#context = NO_POOL;
    this.#run = undefined;
    this.rewind();
  }

  /** Delivers what waits for it; what cannot be delivered now, and what comes later, has failed. */
  end(): void {
    this.settle();
    this.#isEnded = true;
    this.settle();
  }

  /** The socket is gone, and is not touched any more: what waits has failed. */
  abandon(): void {
    this.#isEnded = true;
    this.#isDead = true;
    clearTimeout(this.#timer);
    this.leave();
  }

  /** Sends one message to this connection alone, after everything that waits for it. */
  post(outgoing: Outgoing): void {
    const batch = new Batch([outgoing], true);
    if (this.#hasPending) {
      if (this.#admits(outgoing, this.bufferedBytes)) this.cut().pieces.push(batch);
      else this.#finish(batch);
    } else if (!this.#writesNow(batch)) {
      this.cut().pieces.push(batch);
      this.settle();
    }
  }

  /**
   * Broadcasts one message to a connection whose `send` is overridden: now and not at the end of the turn, as its
   * private messages come to that `send` at once too. The override sends on by `post`.
   */
  override(outgoing: Outgoing): void {
    try {
      if (this.#isEnded) outgoing.failed++;
      else this.#hand(outgoing, 'override');
    } catch (error) {
      this.#fail([outgoing], error);
    }
  }

  /** Takes what the log holds for it into its own view. */
  cut(): View {
    const view = (this.#view ??= { pieces: [], cursor: 0 });
    const log = this.#log;
    if (log !== undefined && log.length > view.cursor) {
      view.pieces.push(log.slice(view.cursor));
      view.cursor = log.length;
    }
    return view;
  }

  /** Leaves out the message that is about to be added to the log. */
  skip(fanOut: FanOut): void {
    this.cut().cursor = fanOut.length + 1;
  }

  /** The log starts anew. */
  rewind(): void {
    if (this.#view === undefined) return;
    this.#view.cursor = 0;
    if (this.#view.pieces.length === 0) this.#view = undefined;
  }

  /**
   * The shared path: the batch of a whole turn, when nothing sets this connection apart. Nothing is allocated.
   * `false`: nothing was written, and `settle` has to do it.
   */
  writeShared(batch: Batch): boolean {
    const socket = this.#ws;
    if (socket === undefined || this.#view !== undefined) return false;
    if (this.#run !== undefined && !this.#run.isInStep(batch)) return false;
    return this.#write(socket, batch);
  }

  /** Delivers everything that waits for it, now. */
  settle(): void {
    if (!this.#hasPending) return;
    const { pieces } = this.cut();
    if (this.#writesTogether(pieces)) pieces.length = 0;
    const corked = pieces.length > 1 ? this.#ws : undefined;
    if (corked) ws.cork(corked);
    // User code that is called meanwhile may send, close or leave: it finds what is left in `pieces`, from
    // `#delivered` on, and what it delivers of it is not there any more when it returns.
    for (let batch = pieces[0]; batch !== undefined; batch = pieces[0]) {
      if (this.#delivered === 0 && this.#isHeld) {
        this.#hold(pieces);
        break;
      }
      if (this.#delivered === 0 && this.#writesNow(batch)) pieces.shift();
      else this.#deliverEach(batch, pieces);
    }
    if (corked) ws.uncork(corked);
    if (this.#view?.cursor === 0 && pieces.length === 0) this.#view = undefined;
  }

  /** The socket has room again. */
  drained(): void {
    if (!this.#isSlow || this.#isDead) return;
    this.#isSlow = false;
    this.#owner[kDrained]();
  }

  /** The owner of the socket has a fragmented message open, which no other may be sent within. */
  get #isHeld(): boolean {
    const socket = this.#ws;
    if (socket === undefined || this.#isEnded) return false;
    return socket.readyState === ReadyState.Open && ws.isInsideMessage(socket);
  }

  /** The whole batch at once, if it can be written. */
  #writesNow(batch: Batch): boolean {
    const socket = this.#ws;
    if (socket === undefined || this.#isEnded || !this.#write(socket, batch)) return false;
    this.#finish(batch);
    return true;
  }

  /**
   * Several small pieces, copied into one write: cheaper than a `writev` of them. Only when the socket takes it at
   * once, as the copy is nobody else's.
   */
  #writesTogether(pieces: readonly Batch[]): boolean {
    const socket = this.#ws;
    if (pieces.length < 2 || socket === undefined || this.#isEnded || this.#delivered > 0) return false;
    if (!this.#isDirect || !ws.canWrite(socket) || ws.bufferedBytes(socket) > 0) return false;
    let byteLength = 0;
    for (const piece of pieces) {
      if (!piece.isFramed || (piece.isPrivate && this.#isForWs(piece.messages[0] as Outgoing))) return false;
      byteLength += piece.byteLength;
    }
    if (byteLength > Math.min(MAX_COPIED_BYTES, this.#context.maxBufferedBytes)) return false;
    try {
      ws.write(socket, [
        concat(
          pieces.flatMap((piece) => this.#chunksOf(piece)),
          pooledBuffer,
        ),
      ]);
      this.#context.counters.writes++;
      for (const piece of pieces) this.#countWritten(piece);
    } catch (error) {
      for (const piece of pieces) this.#fail(piece.messages, error, true);
    }
    for (const piece of pieces) this.#finish(piece);
    return true;
  }

  #deliverEach(batch: Batch, pieces: Batch[]): void {
    const sendEach = (): void => {
      while (pieces[0] === batch && this.#delivered < batch.messages.length) {
        this.#sendOne(batch.messages[this.#delivered++] as Outgoing);
      }
    };
    if (this.#taker === 'socket' && batch.messages.length > 1) this.#driver.cork(this.#socket, sendEach);
    else sendEach();
    if (pieces[0] !== batch) return;
    pieces.shift();
    this.#delivered = 0;
    this.#finish(batch);
  }

  /** The direct path. `false`: nothing was written. */
  #write(socket: ws.WsSocket, batch: Batch): boolean {
    if (!this.#isDirect || !batch.isFramed || !ws.canWrite(socket)) return false;
    if (ws.bufferedBytes(socket) + batch.byteLength > this.#context.maxBufferedBytes) return false;
    if (batch.isPrivate && batch.messages.some((message) => this.#isForWs(message))) return false;
    try {
      ws.write(socket, this.#chunksOf(batch));
      this.#context.counters.writes++;
      this.#countWritten(batch);
    } catch (error) {
      // A part may be out already, and half a frame breaks the stream.
      this.#fail(batch.messages, error, true);
    }
    return true;
  }

  #countWritten(batch: Batch): void {
    batch.sent++;
    const { counters } = this.#context;
    counters.messagesSent += batch.messages.length;
    counters.bytesSent += batch.byteLength;
  }

  #chunksOf(batch: Batch): readonly Buffer[] {
    // Private messages have no part in a shared window: a secret in it could be guessed from the sizes of others.
    if (this.#run === undefined || batch.isPrivate || !batch.hasSegments)
      return batch.chunksFor(this.compression);
    return this.#run.take(batch);
  }

  /** It is large, to be compressed, and nobody has done that off the event loop: `ws` will. */
  #isForWs(outgoing: Outgoing): boolean {
    return this.compression !== undefined && outgoing.needsPreparation(this.compression);
  }

  #sendOne(outgoing: Outgoing): void {
    try {
      if (this.#isEnded || this.#driver.readyState(this.#socket) > ReadyState.Open) outgoing.failed++;
      else if (!this.#admits(outgoing, this.#bytesInSocket)) return;
      else if (this.#taker === 'socket') this.#sendOnSocket(outgoing);
      else this.#hand(outgoing, 'handlers');
    } catch (error) {
      this.#fail([outgoing], error);
    }
  }

  #sendOnSocket(outgoing: Outgoing): void {
    const socket = this.#ws;
    // Even one by one the shared frame is written where possible: stalled readers then keep one buffer together.
    const isDirect = this.#isDirect && outgoing.frame !== undefined && !this.#isForWs(outgoing);
    let answer: unknown;
    if (socket && isDirect && ws.canWrite(socket))
      ws.write(socket, outgoing.frameFor(this.compression).chunks);
    else if (socket && this.#run) ws.sendPlain(socket, outgoing.body, outgoing.isBinary);
    else answer = this.#driver.send(this.#socket, outgoing.body, outgoing.isBinary);
    this.#count(outgoing);
    this.#record(outgoing, answer);
  }

  #hand(outgoing: Outgoing, taker: 'handlers' | 'override'): void {
    // What an overridden `send` does is counted where its own message is sent.
    if (taker === 'handlers') this.#count(outgoing);
    this.#record(outgoing, this.#owner[kHand](outgoing.message, taker));
  }

  #record(outgoing: Outgoing, answer: unknown): void {
    if (isPromiseLike(answer)) outgoing.countLater(answer, (error) => this.#owner[kFailed](error));
    else if (answer === false) outgoing.failed++;
    else outgoing.sent++;
  }

  #count({ byteLength }: Outgoing): void {
    this.#context.counters.messagesSent++;
    this.#context.counters.bytesSent += byteLength;
  }

  /** Whether the message fits under the bound or the policy lets it pass; one that does not is counted. */
  #admits(outgoing: Outgoing, bufferedBytes: number): boolean {
    if (bufferedBytes + outgoing.byteLength <= this.#context.maxBufferedBytes) return true;
    if (!this.#isPassedBy(outgoing)) {
      outgoing.dropped++;
      this.#context.counters.dropped++;
      return false;
    }
    return true;
  }

  #isPassedBy(outgoing: Outgoing): boolean {
    // The policy itself may send: it is not asked about that again.
    if (this.#isDeciding) return false;
    const isNew = !this.#isSlow;
    this.#isSlow = true;
    if (isNew) {
      this.#context.counters.slowReaders++;
      this.#watch();
    }
    this.#isDeciding = true;
    const decision = this.#owner[kSlow](outgoing, isNew);
    this.#isDeciding = false;
    return decision === 'send';
  }

  /** Waits until the socket has room again. */
  #watch(): void {
    if (!this.#ws || !ws.onceDrained(this.#ws, () => this.drained())) this.#poll();
  }

  /**
   * Keeps the pieces until that message is complete. Broadcasts do not wait for one member: they count as handed over
   * (or dropped, past the bound), and a copy is kept for this one.
   */
  #hold(pieces: Batch[]): void {
    let heldBytes = this.#bytesInSocket;
    for (const [index, batch] of pieces.entries()) {
      if (!batch.isPrivate) pieces[index] = this.#copyOf(batch, heldBytes);
      heldBytes += pieces[index]?.byteLength ?? 0;
    }
    this.#poll();
  }

  #copyOf(batch: Batch, heldBytes: number): Batch {
    let bytes = heldBytes;
    const kept = batch.messages.filter((message) => {
      if (!this.#admits(message, bytes)) return false;
      bytes += message.byteLength;
      message.sent++;
      return true;
    });
    return new Batch(
      kept.map((message) => message.copy()),
      true,
    );
  }

  #poll(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.settle();
      if (!this.#isSlow || this.#isDead) return;
      if (this.#bytesInSocket <= this.#context.maxBufferedBytes / 2) this.drained();
      else this.#poll();
    }, POLL_MS).unref();
  }

  #fail(messages: readonly Outgoing[], error: unknown, isBroken = false): void {
    for (const message of messages) message.failed++;
    if (isBroken) this.#isEnded = true;
    // Not at once: listeners may do anything, and here the members of a namespace are being walked through.
    queueMicrotask(() => {
      this.#owner[kFailed](error);
      if (isBroken) this.#owner[kTerminate]();
    });
  }

  /** A private batch has no one else to wait for; those of the log are finished with their turn. */
  #finish(batch: Batch): void {
    if (!batch.isPrivate) return;
    batch.distributeCounts();
    for (const message of batch.messages) message.finish();
  }
}

function isPromiseLike(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
