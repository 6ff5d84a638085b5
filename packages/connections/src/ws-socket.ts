import { ReadyState } from './socket-driver.js';

/** Registered, so that a second copy of the library in the process knows whose window it is. */
const kWindow = Symbol.for('soketi.connections.window');

/** The window in which a client inflates what its socket is sent: whose bytes it ends with. */
export interface DeflateWindow {
  /** What last compressed for it; `undefined` for `ws` itself. */
  owner: unknown;
}

/**
 * The parts of `ws` 8 (8.0-8.23, lib/sender.js and lib/websocket.js) that are not its public interface.
 * This file alone knows them. Everything works without them, through the public `send()`, only slower.
 */
export interface WsSocket {
  readonly readyState: number;
  readonly _isServer: boolean;
  send(body: unknown, options: { readonly binary: boolean; readonly compress: boolean }): void;
  readonly _socket: {
    write(chunk: Buffer): boolean;
    cork(): void;
    uncork(): void;
    once(event: 'drain', listener: () => void): unknown;
    readonly writableNeedDrain: boolean;
    readonly writableLength: number;
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

/**
 * Feature test: an open server-side `ws` socket with the internals that a direct write relies on.
 *
 * Not for clients, whose frames must be masked (RFC 6455 §5.3), nor before the handshake is done.
 */
export function isWsServerSocket(socket: unknown): socket is WsSocket {
  const { _isServer, _socket, _sender } = socket as { [Name in keyof WsSocket]?: unknown };
  return _isServer === true && isStream(_socket) && isSender(_sender);
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

/**
 * Whether bytes of ours may go to the TCP or TLS socket now: the WebSocket is open and nothing that `ws` was
 * given earlier is still on its way there. An open fragmented message would swallow ours (RFC 6455 §5.4).
 */
export function canWrite({ readyState, _sender: sender }: WsSocket): boolean {
  return (
    readyState === ReadyState.Open &&
    sender._firstFragment &&
    sender._queue.length === 0 &&
    (sender._state === 0 || sender._deflating === false)
  );
}

/** Whether `ws` is between the fragments of a message, where no other message may start. */
export function isInsideMessage(socket: WsSocket): boolean {
  return !socket._sender._firstFragment;
}

/** Writes whole frames. One chunk is one system call; several are one `writev`. */
export function write({ _socket: socket }: WsSocket, chunks: readonly Buffer[]): void {
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

/** Several writes as one `writev`. */
export function cork({ _socket: socket }: WsSocket): void {
  socket.cork();
}

export function uncork({ _socket: socket }: WsSocket): void {
  socket.uncork();
}

/** What `bufferedAmount` says, without its checks: this is read once per connection and turn. */
export function bufferedBytes({ _socket: socket, _sender: sender }: WsSocket): number {
  return socket.writableLength + sender._bufferedBytes;
}

/** Calls back once when the socket has written all it holds; `false` when it will not tell. */
export function onceDrained({ _socket: socket }: WsSocket, listener: () => void): boolean {
  if (!socket.writableNeedDrain) return false;
  socket.once('drain', listener);
  return true;
}

/** What permessage-deflate was agreed for messages of the server (RFC 7692 §7.1). */
export interface Compression {
  /** Every message starts from an empty window, so that one compressed payload can serve many sockets. */
  readonly isStateless: boolean;
  readonly windowBits: number;
  /** Payloads below this go out plain, in bytes. */
  readonly thresholdBytes: number;
  readonly level: number | undefined;
  readonly memLevel: number | undefined;
}

/** `undefined` where messages go out uncompressed. */
export function compressionOf({ _sender: sender }: WsSocket): Compression | undefined {
  const deflate = sender._extensions['permessage-deflate'];
  if (deflate === undefined) return undefined;
  const { params, _options: options, _threshold: thresholdBytes } = deflate;
  return {
    // One whose window is shared is not stateless, although `ws` has been told so.
    isStateless: params.server_no_context_takeover === true && deflate[kWindow] === undefined,
    windowBits: params.server_max_window_bits ?? 15,
    thresholdBytes,
    level: options?.zlibDeflateOptions?.level,
    memLevel: options?.zlibDeflateOptions?.memLevel,
  };
}

/**
 * Takes the deflate context of a socket over, so that somebody else may compress for it too: from now on `ws` begins
 * each message that it compresses by itself from nothing (which RFC 7692 §7.1.1.1 leaves to the sender), and the
 * window tells when it has done so. Returns the same window when asked again.
 */
export function adoptDeflate({ _sender: sender }: WsSocket): DeflateWindow | undefined {
  const deflate = sender._extensions['permessage-deflate'];
  if (typeof deflate?.compress !== 'function') return undefined;
  const known = deflate[kWindow];
  if (known !== undefined) return known;
  deflate.params.server_no_context_takeover = true;
  // A message that is being compressed just now is followed by a reset, as the parameter says.
  if (sender._state === 0 || sender._deflating === false) deflate._deflate?.reset();
  deflate.compress = compressAlone;
  return (deflate[kWindow] = { owner: undefined });
}

/** Stands before the method of `ws`: its bytes are what the client's window ends with then. */
function compressAlone(this: WsPerMessageDeflate, data: unknown, isFinal: boolean, callback: unknown): void {
  (this[kWindow] as DeflateWindow).owner = undefined;
  (Object.getPrototypeOf(this) as WsPerMessageDeflate).compress.call(this, data, isFinal, callback);
}

/** Through the queue of `ws`, uncompressed whatever was negotiated (RFC 7692 §6). */
export function sendPlain(socket: WsSocket, body: unknown, isBinary: boolean): void {
  socket.send(body, { binary: isBinary, compress: false });
}
