import { EventEmitter } from 'node:events';
import { assertCloseArguments, CloseCode } from '../close-codes.js';
import { expected } from '../errors.js';
import { inOwnContext } from '../own-context.js';
import { ReadyState } from './driver.js';
import { eventOf, StandardEvents, type PairedListener, type PairedSocketEvents } from './standard-events.js';

/** What a socket of a pair sends: text, or bytes. */
export type PairedMessage = string | ArrayBufferLike | ArrayBufferView | Blob;

interface ControlFrame {
  readonly kind: 'open' | 'close' | 'ping' | 'pong';
  readonly bytes: Buffer;
  readonly code?: number;
}

interface MessageFrame {
  readonly kind: 'message';
  /** Missing until the `Blob` has been read. */
  bytes: Buffer | undefined;
  readonly isBinary: boolean;
  readonly size: number;
}

/** What is on the way to the other side. */
type PairFrame = ControlFrame | MessageFrame;

/** The most bytes of a ping or pong (RFC 6455 §5.5). */
const MAX_CONTROL_BYTES = 125;

/** How long an open pair keeps the process alive after its last message, in ms. */
const ALIVE_MS = 1_000;

let connectPair: () => SocketPair;

/**
 * One side of a connection in memory. It has the methods and events of a `ws` socket (`on`, `ping`, `terminate`, `pause`)
 * and those of the standard `WebSocket` (`addEventListener`, `onmessage`, `binaryType`).
 *
 * Nothing arrives in the turn of the event loop in which it was sent, and everything arrives in the order in which it was
 * sent. An open pair keeps the process alive for a second after its last message: a test that waits for the library, whose
 * timers do not, is not cut short, and one that forgets to close it does not hang.
 */
export class PairedSocket extends EventEmitter {
  readonly CONNECTING: number = ReadyState.Connecting;
  readonly OPEN: number = ReadyState.Open;
  readonly CLOSING: number = ReadyState.Closing;
  readonly CLOSED: number = ReadyState.Closed;
  readonly url: string = '';
  readonly protocol: string = '';
  readonly extensions: string = '';
  /** In which form `message` events of `addEventListener` have bytes. @default 'nodebuffer', as with `ws` */
  binaryType: 'nodebuffer' | 'arraybuffer' | 'blob' = 'nodebuffer';
  onopen: PairedListener<'open'> | null = null;
  onmessage: PairedListener<'message'> | null = null;
  onclose: PairedListener<'close'> | null = null;
  onerror: PairedListener<'error'> | null = null;
  readonly #events = new StandardEvents(this);
  readonly #inbox: PairFrame[] = [];
  #peer!: PairedSocket;
  #readyState: number = ReadyState.Open;
  #isPaused = false;
  #isScheduled = false;
  #hasSentClose = false;
  #alive: NodeJS.Timeout | undefined;

  private constructor() {
    super();
  }

  static {
    connectPair = () => {
      const [server, client] = [new PairedSocket(), new PairedSocket()];
      server.#peer = client;
      client.#peer = server;
      server.#deliver({ kind: 'open', bytes: Buffer.alloc(0) });
      return { server, client };
    };
  }

  /** 1 from the start, 2 while it closes, 3 when it is closed. */
  get readyState(): number {
    return this.#readyState;
  }

  /** Bytes of messages that the other side has not received yet: it is paused, or the turn has not ended. */
  get bufferedAmount(): number {
    return this.#peer.#inbox.reduce((sum, frame) => sum + (frame.kind === 'message' ? frame.size : 0), 0);
  }

  /** Receives nothing until `resume()`: what the other side sends waits there, as with a client that does not read. */
  pause(): void {
    if (this.#readyState !== ReadyState.Closed) this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#stayAlive();
    this.#schedule();
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /**
   * Sends a message. Bytes are copied.
   *
   * @param options `binary`: whether it arrives as binary, whatever its type
   * @param done called when it is on its way, or with an error if the socket is not open
   * @throws {TypeError} the message is neither text nor bytes
   */
  send(message: PairedMessage, options?: PairedSendOptions | SendCallback, done?: SendCallback): void {
    const callback = typeof options === 'function' ? options : done;
    const frame = messageOf(message, typeof options === 'object' ? options.binary : undefined);
    if (this.#readyState !== ReadyState.Open) {
      const error = new Error(`The socket is not open: readyState is ${this.#readyState}`);
      if (callback) process.nextTick(callback, error);
      return;
    }
    this.#deliver(frame);
    if (message instanceof Blob) void this.#read(message, frame);
    if (callback) process.nextTick(callback);
  }

  /** Sends a ping, which the other side answers by itself. @throws {RangeError} it has more than 125 bytes */
  ping(data: string | Uint8Array = ''): void {
    this.#control('ping', data);
  }

  /** Sends a pong. @throws {RangeError} it has more than 125 bytes */
  pong(data: string | Uint8Array = ''): void {
    this.#control('pong', data);
  }

  /**
   * Begins to close, after what was sent before. The other side answers by itself.
   *
   * @throws {TypeError | RangeError} a code that may not be sent, or a reason of more than 123 bytes
   */
  close(code?: number, reason = ''): void {
    if (code !== undefined || reason !== '') assertCloseArguments(code, reason);
    if (this.#readyState !== ReadyState.Open) return;
    this.#readyState = ReadyState.Closing;
    this.#sendClose(code ?? CloseCode.NoStatus, Buffer.from(reason));
  }

  /** Ends both sides at once, without a close frame: what is on the way is lost, and both see 1006. */
  terminate(): void {
    for (const socket of [this, this.#peer]) socket.#end(CloseCode.Abnormal, Buffer.alloc(0));
  }

  /** Of the standard events only: `open`, `message`, `close` and `error`. */
  addEventListener<Type extends keyof PairedSocketEvents>(
    type: Type,
    listener: PairedListener<Type>,
    options?: { readonly once?: boolean },
  ): void {
    this.#events.add(type, listener, options);
  }

  removeEventListener<Type extends keyof PairedSocketEvents>(
    type: Type,
    listener: PairedListener<Type>,
  ): void {
    this.#events.remove(type, listener);
  }

  #deliver(frame: PairFrame): void {
    this.#stayAlive();
    this.#peer.#inbox.push(frame);
    this.#peer.#schedule();
  }

  async #read(message: Blob, frame: MessageFrame): Promise<void> {
    frame.bytes = Buffer.from(await message.arrayBuffer());
    this.#peer.#schedule();
  }

  #control(kind: 'ping' | 'pong', data: string | Uint8Array): void {
    const bytes = Buffer.from(data as Uint8Array);
    if (bytes.length > MAX_CONTROL_BYTES) {
      throw new RangeError(expected(`at most ${MAX_CONTROL_BYTES} bytes in a ${kind}`, bytes.length));
    }
    if (this.#readyState === ReadyState.Open) this.#deliver({ kind, bytes });
  }

  #sendClose(code: number, bytes: Buffer): void {
    this.#hasSentClose = true;
    this.#deliver({ kind: 'close', bytes, code });
  }

  #stayAlive(): void {
    if (this.#readyState === ReadyState.Closed) return;
    if (this.#alive) this.#alive.refresh();
    else this.#alive = inOwnContext(() => setTimeout(() => undefined, ALIVE_MS));
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isPaused || this.#inbox[0]?.bytes === undefined) return;
    this.#isScheduled = true;
    inOwnContext(() => setImmediate(() => this.#receiveNext()));
  }

  /** One frame per turn: a listener that throws, or that pauses the socket, keeps none of the others. */
  #receiveNext(): void {
    this.#isScheduled = false;
    const [frame] = this.#inbox;
    if (this.#isPaused || frame?.bytes === undefined) return;
    this.#inbox.shift();
    this.#schedule();
    this.#receive(frame, frame.bytes);
  }

  #receive(frame: PairFrame, bytes: Buffer): void {
    switch (frame.kind) {
      case 'close': {
        const { code = CloseCode.NoStatus } = frame;
        if (!this.#hasSentClose) this.#sendClose(code, bytes);
        this.#end(code, bytes);
        return;
      }
      case 'message':
        this.#tell('message', bytes, frame.isBinary);
        return;
      case 'open':
        this.#tell('open');
        return;
      case 'ping':
        this.#control('pong', bytes);
        this.emit('ping', bytes);
        return;
      case 'pong':
        this.emit('pong', bytes);
    }
  }

  #end(code: number, reason: Buffer): void {
    if (this.#readyState === ReadyState.Closed) return;
    this.#readyState = ReadyState.Closed;
    this.#inbox.length = 0;
    this.#isPaused = false;
    clearTimeout(this.#alive);
    inOwnContext(() => setImmediate(() => this.#tell('close', code, reason)));
  }

  #tell(type: 'open' | 'message' | 'close', ...args: readonly unknown[]): void {
    this.emit(type, ...args);
    const handler = this[`on${type}`] as ((event: never) => void) | null;
    handler?.call(this, eventOf(this, type, args) as never);
  }
}

type SendCallback = (error?: Error) => void;

/** As with `ws`. */
export interface PairedSendOptions {
  /** @default true for bytes, false for text */
  readonly binary?: boolean | undefined;
}

function messageOf(message: PairedMessage, isBinary = typeof message !== 'string'): MessageFrame {
  if (message instanceof Blob) return { kind: 'message', bytes: undefined, isBinary, size: message.size };
  const bytes = copyOf(message);
  return { kind: 'message', bytes, isBinary, size: bytes.length };
}

function copyOf(message: Exclude<PairedMessage, Blob>): Buffer {
  if (typeof message === 'string') return Buffer.from(message);
  if (ArrayBuffer.isView(message)) {
    return Buffer.from(new Uint8Array(message.buffer, message.byteOffset, message.byteLength));
  }
  if (message instanceof ArrayBuffer || message instanceof SharedArrayBuffer) {
    return Buffer.from(new Uint8Array(message));
  }
  throw new TypeError(expected('text or bytes', message));
}

/** Two sockets in memory that are connected to each other. */
export interface SocketPair {
  /** For `new Connection(id, namespace, server)`. */
  readonly server: PairedSocket;
  /** The other side, for your test. Emits `open` in the next turn. */
  readonly client: PairedSocket;
}

/**
 * Two connected sockets without a network, to test a server, or a client, in one process.
 *
 * There is no HTTP request and there are no limits of a network: what happens before a connection, and how much a kernel
 * buffers, needs a real socket.
 */
export function socketPair(): SocketPair {
  return connectPair();
}
