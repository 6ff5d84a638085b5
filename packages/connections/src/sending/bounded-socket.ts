import { newCounters, type Counters } from '../counters.js';
import { DEFAULT_MAX_BUFFERED_BYTES, type SlowDecision } from '../options.js';
import type { Driver } from '../sockets/driver.js';
import { WsDriver, type WsSocket } from '../sockets/ws.js';
import { SlowReader, type SlowReaderOwner } from './slow-reader.js';

/** What a write that waits in a socket costs beside its payload: the objects of Node's stream and the frame, in bytes. */
const WAITING_WRITE_BYTES = 320;

/** What a pool sets and counts for its connections. */
export interface SendingContext {
  readonly maxBufferedBytes: number;
  readonly maxFlushMs: number;
  /** Size of a namespace's shared compression history in bytes; 0 for none. */
  readonly historyBytes: number;
  readonly counters: Counters;
}

/** For connections that are in no pool. */
const NO_POOL: SendingContext = {
  maxBufferedBytes: DEFAULT_MAX_BUFFERED_BYTES,
  maxFlushMs: Infinity,
  historyBytes: 0,
  counters: newCounters(),
};

/** The connection that a writer writes for. Only `sendOverridden` may throw. */
export interface WriterOwner {
  /** Calls the overridden `send`. */
  sendOverridden(message: unknown): unknown;
  /** A socket, a handler or an override failed. */
  failed(error: unknown): void;
  /** The stream is broken: ends the connection. */
  abort(): void;
  /** A message exceeds the bound. `isNew`: the first one of this episode. */
  slow(byteLength: number, isNew: boolean): SlowDecision;
  /** The episode is over. */
  drained(): void;
}

/** One socket, what waits in it, and the bound that makes its peer a slow reader. */
export abstract class BoundedSocket implements SlowReaderOwner {
  protected static readonly noPool: SendingContext = NO_POOL;
  protected readonly owner: WriterOwner;
  protected readonly socket: unknown;
  protected readonly driver: Driver;
  /** The socket and its driver again, if it takes whole frames. */
  protected readonly ws: WsSocket | undefined;
  protected readonly frames: WsDriver | undefined;
  protected context = NO_POOL;
  /** Nothing is sent any more. */
  protected isEnded = false;
  #slowReader: SlowReader | undefined;
  /** Writes that waited in the stream when it was last looked at, and those that the system was taking then. */
  #queuedWrites = 0;
  #runningWrites = 0;
  /** The socket is gone and must not be touched: uWebSockets.js throws on any use. */
  #isDead = false;

  constructor(socket: unknown, driver: Driver, owner: WriterOwner) {
    this.socket = socket;
    this.driver = driver;
    this.owner = owner;
    if (!(driver instanceof WsDriver)) return;
    this.ws = socket as WsSocket;
    this.frames = driver;
  }

  get isSlow(): boolean {
    return this.#slowReader?.isSlow ?? false;
  }

  /** Bytes that wait in the socket; 0 if it does not tell. */
  get bytesInSocket(): number {
    if (this.#isDead) return 0;
    return this.ws && this.frames
      ? this.frames.bufferedBytes(this.ws)
      : this.driver.bufferedAmount(this.socket);
  }

  /** Whether a message that is sent now may have to wait in the socket. */
  protected get isBacklogged(): boolean {
    return this.ws === undefined || this.bytesInSocket > 0;
  }

  protected fits(byteLength: number, bufferedBytes: number): boolean {
    const costBytes = bufferedBytes > 0 ? this.#waitingWrites() * WAITING_WRITE_BYTES : 0;
    return bufferedBytes + costBytes + byteLength <= this.context.maxBufferedBytes;
  }

  /** Whether the message fits under the bound or the policy lets it pass. */
  protected admits(byteLength: number, bufferedBytes: number): boolean {
    if (this.fits(byteLength, bufferedBytes)) return true;
    this.#slowReader ??= new SlowReader(this);
    if (this.#slowReader.passes(byteLength)) return true;
    this.context.counters.dropped++;
    return false;
  }

  /**
   * Writes that wait in the stream. When the system is ready, the stream hands over all of its queue at once; those
   * writes still wait, although the queue is empty.
   */
  #waitingWrites(): number {
    if (this.ws === undefined || this.frames === undefined || this.#isDead) return 0;
    const queued = this.frames.queuedWrites(this.ws);
    if (this.frames.bufferedBytes(this.ws) === 0) this.#runningWrites = 0;
    else if (queued < this.#queuedWrites) this.#runningWrites = this.#queuedWrites;
    this.#queuedWrites = queued;
    return queued + this.#runningWrites;
  }

  decide(byteLength: number, isNew: boolean): SlowDecision {
    const { counters } = this.context;
    if (isNew) {
      counters.slowReaders++;
      counters.slowNow++;
    }
    return this.owner.slow(byteLength, isNew);
  }

  drained(): void {
    this.context.counters.slowNow--;
    this.owner.drained();
  }

  hasRoom(): boolean {
    return this.bytesInSocket <= this.context.maxBufferedBytes / 2;
  }

  onceDrained(listener: () => void): boolean {
    return this.ws !== undefined && this.frames !== undefined && this.frames.onceDrained(this.ws, listener);
  }

  /** For the owner of a socket that tells through `handleDrain`. */
  hasDrained(): void {
    this.#slowReader?.drained();
  }

  /** The connection joins or leaves a pool. An episode goes on, and counts there. */
  protected moveTo(context: SendingContext): void {
    if (this.isSlow) {
      this.context.counters.slowNow--;
      context.counters.slowNow++;
    }
    this.context = context;
  }

  /** The socket is gone: it is not touched any more. */
  protected die(): void {
    this.isEnded = true;
    this.#isDead = true;
    if (this.isSlow) this.context.counters.slowNow--;
    this.#slowReader?.stop();
  }
}
