import { internAgreement, type Agreement } from '../wire/agreement.js';
import { ReadyState } from './driver.js';
import { StandardDriver } from './standard.js';

/** Registered, so that a second copy of the library in the process finds the same window. */
const kWindow = Symbol.for('soketi.connections.window');

/** The window in which a client inflates what its socket is sent. */
export interface DeflateWindow {
  /** Who compressed the bytes that the window ends with; `undefined` for `ws` itself. */
  owner: unknown;
}

/**
 * The parts of `ws` 8 (8.0-8.23: lib/websocket.js, lib/sender.js, lib/receiver.js) and of Node's `net` that are not
 * their public interface. Only this file knows them. Without them everything works through the public `send()`, only
 * slower.
 */
export interface WsSocket {
  readonly readyState: number;
  readonly _isServer: boolean;
  send(body: unknown, options: { readonly binary: boolean; readonly compress: boolean }): void;
  readonly _receiver?: {
    /** Bytes that have arrived and are not part of a complete frame yet. */
    readonly _bufferedBytes?: number;
    /** 0 (GET_INFO) between frames. */
    readonly _state?: number;
    /** Opcode of a message whose last fragment has not arrived; 0 for none. */
    readonly _fragmented?: number;
  } | null;
  /** From the first close frame on: when it fires, `ws` destroys the socket. */
  readonly _closeTimer?: NodeJS.Timeout | null;
  readonly _socket: {
    readonly bytesRead: number;
    readonly bytesWritten: number;
    readonly writableLength: number;
    readonly writableNeedDrain: boolean;
    readonly _handle?: { readonly writeQueueSize?: number } | null;
    readonly _bytesDispatched?: number;
    readonly _writableState?: { readonly bufferedRequestCount?: number; readonly writelen?: number };
    write(chunk: Buffer): boolean;
    cork(): void;
    uncork(): void;
    once(event: 'drain', listener: () => void): unknown;
  };
  readonly _sender: {
    /** False between the fragments of a message. */
    readonly _firstFragment: boolean;
    /** What waits for a compression or a Blob to finish. */
    readonly _queue: readonly unknown[];
    /** Bytes in that queue. */
    readonly _bufferedBytes: number;
    /** From 8.18 on: 0 when nothing is being compressed or read. */
    readonly _state?: number;
    /** Before 8.18: true while a message is being compressed. */
    readonly _deflating?: boolean;
    readonly _extensions: { readonly 'permessage-deflate'?: WsPerMessageDeflate };
  };
}

interface WsPerMessageDeflate {
  /** Set by `adoptDeflate`. */
  [kWindow]?: DeflateWindow;
  /** The deflate stream of `ws` for this socket, once it has compressed something. */
  readonly _deflate: { reset(): void } | null;
  compress(data: unknown, isFinal: boolean, callback: unknown): void;
  readonly _threshold: number;
  readonly _options?: {
    readonly zlibDeflateOptions?: { readonly level?: number; readonly memLevel?: number };
  };
  readonly params: {
    server_no_context_takeover?: boolean;
    readonly server_max_window_bits?: number;
  };
}

/** How far a socket has come with the bytes of both directions. */
export interface Progress {
  readonly bytesRead: number;
  /** Bytes of writes that have completed. */
  readonly bytesTaken: number;
  /** Bytes of the running write that the operating system has not taken yet. */
  readonly bytesQueued: number;
}

/** Server-side sockets of `ws`: they take whole frames, straight into the TCP or TLS socket. */
export class WsDriver extends StandardDriver {
  /**
   * Whether frames of ours may go to the TCP or TLS socket now: the WebSocket is open and everything that `ws` was
   * given earlier has left it. Inside an open fragmented message ours would break it (RFC 6455 §5.4).
   */
  canWrite({ readyState, _sender: sender }: WsSocket): boolean {
    return (
      readyState === ReadyState.Open &&
      sender._firstFragment &&
      sender._queue.length === 0 &&
      (sender._state === 0 || sender._deflating === false)
    );
  }

  /** Whether the socket's owner has a fragmented message open, in which no other message may start. */
  isInsideMessage(socket: WsSocket): boolean {
    return !socket._sender._firstFragment;
  }

  /** Writes whole frames. One chunk is one system call; several are one `writev`. */
  write({ _socket: socket }: WsSocket, chunks: readonly Buffer[]): void {
    if (chunks.length === 1) {
      socket.write(chunks[0] as Buffer);
      return;
    }
    socket.cork();
    try {
      for (const chunk of chunks) socket.write(chunk);
    } finally {
      socket.uncork();
    }
  }

  /** The deadline is that of the connection: `ws` has one of its own, 30 s by default, that would end it earlier. */
  override close(socket: unknown, code: number, reason: string): unknown {
    super.close(socket, code, reason);
    clearTimeout((socket as WsSocket)._closeTimer ?? undefined);
    return undefined;
  }

  /** What `bufferedAmount` says, without its checks: this is read once per connection and turn. */
  bufferedBytes({ _socket: socket, _sender: sender }: WsSocket): number {
    return socket.writableLength + sender._bufferedBytes;
  }

  /** Bytes that the stream has been given since it began, those that wait included. */
  bytesGiven({ _socket: socket }: WsSocket): number {
    const { _bytesDispatched: dispatched, _writableState: state } = socket;
    const inProgress = state?.writelen;
    // The public figure is the same, but each time it adds up everything that waits: a stalled reader has thousands.
    if (dispatched === undefined || inProgress === undefined) return socket.bytesWritten;
    return dispatched + socket.writableLength - inProgress;
  }

  /** Writes that wait in the stream's queue, without those that the operating system is taking. */
  queuedWrites({ _socket: socket, _sender: sender }: WsSocket): number {
    return (socket._writableState?.bufferedRequestCount ?? 0) + sender._queue.length;
  }

  /** Calls back once when the socket has written all it holds. @returns `false` if it cannot */
  onceDrained({ _socket: socket }: WsSocket, listener: () => void): boolean {
    if (!socket.writableNeedDrain) return false;
    socket.once('drain', listener);
    return true;
  }

  /** Sends through the queue of `ws`, uncompressed whatever was negotiated (RFC 7692 §6). */
  sendPlain(socket: WsSocket, body: unknown, isBinary: boolean): void {
    socket.send(body, { binary: isBinary, compress: false });
  }

  /** What was negotiated about compression; `undefined` if messages go out uncompressed. */
  agreementOf({ _sender: sender }: WsSocket): Agreement | undefined {
    const deflate = sender._extensions['permessage-deflate'];
    if (deflate === undefined) return undefined;
    const { params, _options: options, _threshold: thresholdBytes } = deflate;
    return internAgreement({
      // With a shared window it is not stateless, although `ws` has been told so.
      isStateless: params.server_no_context_takeover === true && deflate[kWindow] === undefined,
      windowBits: params.server_max_window_bits ?? 15,
      thresholdBytes,
      level: options?.zlibDeflateOptions?.level,
      memLevel: options?.zlibDeflateOptions?.memLevel,
    });
  }

  /**
   * Takes the deflate context of a socket over, so that the library may compress for it too. From now on `ws` begins
   * each message that it compresses with an empty window (RFC 7692 §7.1.1.1 lets the sender choose), and the window
   * tells when it has done so. Returns the same window when called again.
   */
  adoptDeflate({ _sender: sender }: WsSocket): DeflateWindow | undefined {
    const deflate = sender._extensions['permessage-deflate'];
    if (typeof deflate?.compress !== 'function') return undefined;
    const known = deflate[kWindow];
    if (known !== undefined) return known;
    deflate.params.server_no_context_takeover = true;
    // A message that is being compressed right now is followed by a reset, because of that parameter.
    if (sender._state === 0 || sender._deflating === false) deflate._deflate?.reset();
    deflate.compress = compressAlone;
    return (deflate[kWindow] = { owner: undefined });
  }
}

/** Wraps the method of `ws`: afterwards the client's window ends with the bytes of `ws`. */
function compressAlone(this: WsPerMessageDeflate, data: unknown, isFinal: boolean, callback: unknown): void {
  (this[kWindow] as DeflateWindow).owner = undefined;
  (Object.getPrototypeOf(this) as WsPerMessageDeflate).compress.call(this, data, isFinal, callback);
}

/** Whether `isBusy` and `progressOf` can be asked: any `ws` socket, even if others send on it. */
export function isReadableWs(socket: unknown): socket is WsSocket {
  const { _isServer, _socket } = socket as { [Name in keyof WsSocket]?: unknown };
  return typeof _isServer === 'boolean' && isStream(_socket);
}

/**
 * Whether the peer may be alive although no complete message of it arrives: it is in the middle of a frame or a
 * fragmented message, or it is still taking bytes that wait for it.
 */
export function isBusy({ _receiver: receiver, _socket: tcp }: WsSocket): boolean {
  if (tcp.writableLength > 0) return true;
  if (receiver === null || receiver === undefined) return false;
  const { _bufferedBytes: bytes = 0, _state: state = 0, _fragmented: fragmented = 0 } = receiver;
  return bytes > 0 || state !== 0 || fragmented !== 0;
}

/** How far the socket has come, to be compared later by `hasProgressed`. */
export function progressOf({ _socket: tcp }: WsSocket): Progress {
  return {
    bytesRead: tcp.bytesRead,
    bytesTaken: tcp.bytesWritten - tcp.writableLength,
    bytesQueued: tcp._handle?.writeQueueSize ?? 0,
  };
}

/** Whether bytes have arrived, or the peer has taken some that were waiting for it. */
export function hasProgressed(socket: WsSocket, earlier: Progress): boolean {
  const now = progressOf(socket);
  if (now.bytesRead > earlier.bytesRead) return true;
  if (earlier.bytesQueued === 0) return false;
  return now.bytesTaken > earlier.bytesTaken || now.bytesQueued < earlier.bytesQueued;
}

/**
 * Feature test: an open server-side `ws` socket with the internals that a direct write relies on, whose `send` is the
 * one of `ws`. A subclass or a tracer that replaces `send` wants to see every message.
 *
 * `false` for clients, whose frames must be masked (RFC 6455 §5.3), and before the handshake is done.
 */
export function isWsServerSocket(socket: unknown): socket is WsSocket {
  const { _isServer, _socket, _sender } = socket as { [Name in keyof WsSocket]?: unknown };
  return _isServer === true && isStream(_socket) && isSender(_sender) && hasOwnSend(socket as WsSocket);
}

const sendsOfWs = new WeakMap<object, boolean>();

/** The `send` of `ws` ends in its sender; a function that was put in its place does not name that. */
function hasOwnSend(socket: WsSocket): boolean {
  const send: object = Reflect.get(socket, 'send');
  let isOfWs = sendsOfWs.get(send);
  if (isOfWs === undefined) {
    isOfWs = Function.prototype.toString.call(send).includes('_sender.send(');
    sendsOfWs.set(send, isOfWs);
  }
  return isOfWs;
}

type Unknown = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Unknown {
  return typeof value === 'object' && value !== null;
}

function isStream(stream: unknown): boolean {
  return (
    isObject(stream) &&
    ['write', 'cork', 'uncork', 'once'].every((name) => typeof stream[name] === 'function') &&
    typeof stream['writableLength'] === 'number'
  );
}

function isSender(sender: unknown): boolean {
  return (
    isObject(sender) &&
    typeof sender['_firstFragment'] === 'boolean' &&
    typeof sender['_bufferedBytes'] === 'number' &&
    Array.isArray(sender['_queue']) &&
    (typeof sender['_state'] === 'number' || typeof sender['_deflating'] === 'boolean') &&
    isObject(sender['_extensions']) &&
    isKnownDeflate(sender['_extensions']['permessage-deflate'])
  );
}

function isKnownDeflate(deflate: unknown): boolean {
  if (deflate === undefined) return true;
  if (!isObject(deflate) || !isObject(deflate['_options'])) return false;
  return isObject(deflate['params']) && typeof deflate['_threshold'] === 'number';
}
