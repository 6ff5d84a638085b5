import { newCounters, type Counters } from '../counters.js';
import { DEFAULT_CONFLATE_ABOVE_BYTES, DEFAULT_MAX_BUFFERED_BYTES, type SlowDecision } from '../options.js';
import { inOwnContext } from '../own-context.js';
import type { Driver } from '../sockets/driver.js';
import { HandlersDriver } from '../sockets/handlers.js';
import { WsDriver, type WsSocket } from '../sockets/ws.js';
import type { PrivateMessage } from './delivery.js';
import type { LatestValues } from './latest-values.js';
import { WaitingWrites } from './waiting-writes.js';
import { nextPollMs, SlowReader, type SlowReaderOwner } from './slow-reader.js';

/** What a write that waits in a socket costs beside its payload: the objects of Node's stream and the frame, in bytes. */
const WAITING_WRITE_BYTES = 320;

const NOTHING: readonly PrivateMessage[] = [];

/** What a pool sets and counts for its connections. */
export interface SendingContext {
  readonly maxBufferedBytes: number;
  readonly maxFlushMs: number;
  /** A reader with more in its socket is behind, in bytes. */
  readonly conflateAboveBytes: number;
  /** Size of a namespace's shared compression history in bytes; 0 for none. */
  readonly historyBytes: number;
  readonly counters: Counters;
}

/** For connections that are in no pool. */
const NO_POOL: SendingContext = {
  maxBufferedBytes: DEFAULT_MAX_BUFFERED_BYTES,
  maxFlushMs: Infinity,
  conflateAboveBytes: DEFAULT_CONFLATE_ABOVE_BYTES,
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
  /** The policy closes the connection. */
  closeSlow(): void;
  /** The episode is over. */
  drained(): void;
}

/** One socket, what waits in it, and the bound that makes its peer a slow reader. */
export abstract class BoundedSocket implements SlowReaderOwner {
  protected static readonly noPool: SendingContext = NO_POOL;
  protected readonly owner: WriterOwner;
  protected readonly socket: unknown;
  readonly driver: Driver;
  /** The driver again, if the socket takes whole frames. */
  protected readonly frames: WsDriver | undefined;
  protected context = NO_POOL;
  /** Nothing is sent any more. */
  protected isEnded = false;
  /** It leaves its pool or closes: whatever waits goes out now, and nothing is held back. */
  protected isLeaving = false;
  /** Messages held back while the reader is behind. */
  protected latest: LatestValues | undefined;
  /** How long the next look at a reader that is behind waits, in ms; 0 while none is to come. */
  #watchMs = 0;
  #slowReader: SlowReader | undefined;
  #waiting: WaitingWrites | undefined;
  /** The socket is gone and must not be touched: uWebSockets.js throws on any use. */
  #isDead = false;

  constructor(socket: unknown, driver: Driver, owner: WriterOwner) {
    this.socket = socket;
    this.driver = driver;
    this.owner = owner;
    if (!(driver instanceof WsDriver)) return;
    this.frames = driver;
  }

  /** The socket, where `frames` takes it. */
  protected get ws(): WsSocket {
    return this.socket as WsSocket;
  }

  /** Bytes that wait in the socket; 0 if it does not tell. */
  get bytesInSocket(): number {
    if (this.#isDead) return 0;
    if (this.frames) return this.frames.bufferedBytes(this.ws);
    try {
      return this.driver.bufferedAmount(this.socket);
    } catch (error) {
      // Later, as user code hears of it and this is read inside a flush.
      queueMicrotask(() => this.owner.failed(error));
      return 0;
    }
  }

  /** Bytes that wait in the socket, and what the messages that are held back take. */
  protected get waitingBytes(): number {
    return this.bytesInSocket + (this.latest?.cost ?? 0);
  }

  /** Bytes that the socket has been given; 0 if it does not tell. */
  protected get bytesGiven(): number {
    return this.frames === undefined || this.#isDead ? 0 : this.frames.bytesGiven(this.ws);
  }

  /** The reader has so much to read that messages with a key are held back. */
  protected get isBehind(): boolean {
    if (!this.driver.capabilities.bufferedAmount || this.driver instanceof HandlersDriver) return false;
    return this.bytesInSocket > this.context.conflateAboveBytes;
  }

  /** A message under this key may not leave now. */
  protected mustHold(key: string | undefined): key is string {
    return key !== undefined && !this.isLeaving && (this.isBehind || this.latest?.has(key) === true);
  }

  /** Something is held back that may leave now. */
  protected get mayRelease(): boolean {
    return this.latest !== undefined && this.latest.position <= this.positionTaken;
  }

  /** While it is behind, what would have left by now may leave: a reader that is never idle gets it, too. */
  private get positionTaken(): number {
    return this.isBehind ? this.bytesGiven - this.bytesInSocket : Infinity;
  }

  /** Takes what is held back and may leave: as much as there is room for, or all of it if the connection leaves. */
  protected takeHeld(): readonly PrivateMessage[] {
    const { latest } = this;
    if (latest === undefined) return NOTHING;
    const position = this.positionTaken;
    const taken = this.isLeaving
      ? latest.take(Infinity)
      : latest.take(this.context.conflateAboveBytes, position);
    if (latest.size === 0) this.latest = undefined;
    return taken;
  }

  /** Whether a message that is sent now may have to wait in the socket. */
  protected get isBacklogged(): boolean {
    return this.frames === undefined || this.bytesInSocket > 0;
  }

  protected fits(byteLength: number, bufferedBytes: number): boolean {
    return this.memoryOf(bufferedBytes) + byteLength <= this.context.maxBufferedBytes;
  }

  /** Memory that so many waiting bytes take. */
  private memoryOf(waitingBytes: number): number {
    if (waitingBytes === 0 && this.#waiting === undefined) return 0;
    return waitingBytes + this.waitingWrites() * WAITING_WRITE_BYTES;
  }

  /** Whether the message fits under the bound or the policy lets it pass. */
  protected admits(byteLength: number, bufferedBytes: number): boolean {
    if (this.fits(byteLength, bufferedBytes)) return true;
    this.#slowReader ??= new SlowReader(this);
    if (this.#slowReader.passes(byteLength, this.context.counters)) return true;
    this.context.counters.dropped++;
    return false;
  }

  /**
   * The peer has pinged: the socket has answered by itself, and a peer that does not read has its answers wait. They may
   * take as much room again as messages.
   */
  pinged(): void {
    if (this.isEnded || this.memoryOf(this.bytesInSocket) <= 2 * this.context.maxBufferedBytes) return;
    this.#slowReader ??= new SlowReader(this);
    this.#slowReader.exceeds(this.context.counters);
  }

  /** Writes that wait in a `ws` socket; 0 for other sockets, which do not tell. */
  private waitingWrites(): number {
    if (this.frames === undefined || this.bytesInSocket === 0) {
      this.#waiting = undefined;
      return 0;
    }
    this.#waiting ??= new WaitingWrites();
    return this.#waiting.count(this.frames.queuedWrites(this.ws));
  }

  decide(byteLength: number, isNew: boolean): SlowDecision {
    return this.owner.slow(byteLength, isNew);
  }

  closeSlow(): void {
    this.owner.closeSlow();
  }

  drained(): void {
    this.owner.drained();
  }

  hasRoom(): boolean {
    return this.memoryOf(this.waitingBytes) <= this.context.maxBufferedBytes / 2;
  }

  onceDrained(listener: () => void): boolean {
    return this.frames !== undefined && this.frames.onceDrained(this.ws, listener);
  }

  /** Looks from time to time whether a reader that is behind has room again, as long as something is held back. */
  protected watch(waitMs = nextPollMs(0)): void {
    if (this.#watchMs > 0 || this.latest === undefined) return;
    this.#watchMs = waitMs;
    // Made here: a field would be a closure for each connection, behind or not.
    const look = (): void => this.look();
    if (!this.onceDrained(look)) inOwnContext(() => setTimeout(look, waitMs).unref());
  }

  private look(): void {
    const waitedMs = this.#watchMs;
    this.#watchMs = 0;
    const held = this.latest?.size;
    this.release();
    this.watch(this.latest?.size === held ? nextPollMs(waitedMs) : undefined);
  }

  /** Sends what is held back while the reader has room, and then what else waits. */
  protected abstract release(): void;

  /** For the owner of a socket that tells through `handleDrain`. */
  hasDrained(): void {
    this.#slowReader?.drained();
  }

  /** The connection joins a pool or leaves it. A slow reader's episode goes on, and counts where the connection is. */
  protected enter(context: SendingContext): void {
    this.#slowReader?.enter(context.counters);
    this.context = context;
  }

  /** The socket is gone: it is not touched any more. */
  protected die(): void {
    this.isEnded = true;
    this.#isDead = true;
    this.#slowReader?.stop();
  }
}
