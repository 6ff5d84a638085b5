import { MemorySocket } from './memory-socket.js';

/** The TCP socket below a `FakeWsSocket`: keeps everything that is written. */
export class FakeTcp {
  /** The very objects that were written. */
  readonly chunks: Buffer[] = [];
  /** Their content at the time of the write. */
  readonly #written: Buffer[] = [];
  bytesRead = 0;
  bytesWritten = 0;
  writableLength = 0;
  writableNeedDrain = false;
  /** Called for each chunk. */
  onWrite: () => void = () => undefined;

  write(chunk: Buffer): boolean {
    this.chunks.push(chunk);
    this.#written.push(Buffer.from(chunk));
    this.bytesWritten += chunk.length;
    this.onWrite();
    return true;
  }

  cork(): void {
    /* Nothing waits. */
  }

  uncork(): void {
    /* Nothing waits. */
  }

  once(_event: 'drain', _listener: () => void): this {
    return this;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#written);
  }
}

/** Each message may be compressed on its own, or may refer to earlier ones. */
export type FakeAgreement = 'stateless' | 'takeover';

class FakeDeflate {
  readonly params: { server_no_context_takeover?: boolean };
  readonly _options = {};
  readonly _threshold = 0;
  readonly _deflate = null;

  constructor(agreement: FakeAgreement) {
    this.params = agreement === 'stateless' ? { server_no_context_takeover: true } : {};
  }

  compress(): void {
    /* Only the library compresses. */
  }
}

/** A socket in memory with those internals of a `ws` server socket that the library reads and writes. */
export class FakeWsSocket extends MemorySocket {
  readonly _isServer = true;
  readonly _socket = new FakeTcp();
  readonly _receiver = { _bufferedBytes: 0, _state: 0, _fragmented: 0 };
  readonly _sender: object & {
    _firstFragment: boolean;
    readonly _queue: unknown[];
    readonly _extensions: { readonly 'permessage-deflate'?: FakeDeflate };
    send: (message: unknown) => void;
  };
  isPaused = false;
  /** When it was pinged, on the clock of `performance.now()`. */
  readonly pingedAtMs: number[] = [];
  answersPings = true;
  /** Pongs that arrived while it was paused. */
  #unreadPongs = 0;

  /** @param agreement what was agreed about compression, if anything */
  constructor(agreement?: FakeAgreement) {
    super();
    this._sender = {
      _firstFragment: true,
      _bufferedBytes: 0,
      _queue: [],
      _state: 0,
      _extensions: agreement ? { 'permessage-deflate': new FakeDeflate(agreement) } : {},
      send: (message) => void this.sent.push(message),
    } as FakeWsSocket['_sender'];
  }

  /** Names the sender, as the `send` of `ws` does. */
  override send(message: unknown): void {
    this._sender.send(message);
  }

  ping(): void {
    this.pingedAtMs.push(performance.now());
    if (!this.answersPings) return;
    if (this.isPaused) this.#unreadPongs++;
    else queueMicrotask(() => this.emit('pong'));
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    for (; this.#unreadPongs > 0; this.#unreadPongs--) this.emit('pong');
  }
}
