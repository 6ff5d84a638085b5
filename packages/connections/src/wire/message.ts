import { expected, toError } from '../errors.js';

/** A message that a WebSocket takes: a `string` leaves as a text frame, everything else as a binary one. */
export type WebSocketMessage = string | ArrayBuffer | ArrayBufferView | Blob;

/** A message whose bytes are at hand; only a `Blob` has to be read first. */
export type ImmediateMessage = Exclude<WebSocketMessage, Blob>;

/** A message as listeners get it: text as a `string`, binary as bytes (a `Buffer` from `ws`). */
export type ReceivedMessage = string | Uint8Array;

const hasBlob = typeof Blob === 'function';

export function isBlob(value: unknown): value is Blob {
  return hasBlob && value instanceof Blob;
}

export function isWebSocketMessage(value: unknown): value is WebSocketMessage {
  return (
    typeof value === 'string' || ArrayBuffer.isView(value) || value instanceof ArrayBuffer || isBlob(value)
  );
}

/** @throws {TypeError} a WebSocket cannot send the value; `sendJson` sends objects */
export function assertWebSocketMessage(value: unknown): asserts value is WebSocketMessage {
  if (isWebSocketMessage(value)) return;
  throw new TypeError(
    `${expected('a string, ArrayBuffer, typed array, Buffer or Blob', value)}; use sendJson() to send a value as JSON`,
  );
}

/** The bytes of a binary message, without a copy. */
export function toBuffer(message: ArrayBuffer | ArrayBufferView): Buffer {
  return ArrayBuffer.isView(message)
    ? Buffer.from(message.buffer, message.byteOffset, message.byteLength)
    : Buffer.from(message);
}

/**
 * Encodes a value as JSON text.
 *
 * @throws {TypeError} JSON cannot express the value: `undefined`, a function, a symbol, a cycle, a BigInt
 */
export function encodeJson(value: unknown): string {
  // Its declared type is wrong: it returns `undefined` for values that JSON leaves out.
  let text: unknown;
  try {
    text = JSON.stringify(value);
  } catch (cause) {
    throw new TypeError(`${expected('a value that JSON can express', value)}: ${toError(cause).message}`, {
      cause,
    });
  }
  if (typeof text === 'string') return text;
  throw new TypeError(expected('a value that JSON can express', value));
}

const typedArrayPrototype = Object.getPrototypeOf(Uint8Array.prototype) as object;

/**
 * The same bytes as an object of the message's own type, for handlers that get them after the call. Of a subclass it is
 * the built-in type: only its author knows how to construct the subclass.
 */
export function likeMessage(
  message: ArrayBuffer | ArrayBufferView,
  bytes: Buffer,
): ArrayBuffer | ArrayBufferView {
  if (Buffer.isBuffer(message)) return bytes;
  // A copy: the bytes may start anywhere in their buffer, and most views need them aligned.
  const copy = new Uint8Array(bytes).buffer;
  if (!ArrayBuffer.isView(message)) return copy;
  // The getter knows the built-in type of every typed array; a view without one is a `DataView`.
  const name = Reflect.get(typedArrayPrototype, Symbol.toStringTag, message) as string | undefined;
  const View = Reflect.get(globalThis, name ?? 'DataView') as new (buffer: ArrayBuffer) => ArrayBufferView;
  return new View(copy);
}

/**
 * An error that is a message already is sent as it is, any other value as JSON. For JSON an `Error` is an object without
 * its `message`, which is added. Its stack and its cause stay on the server.
 *
 * @throws {TypeError} JSON cannot express the value
 */
export function encodeError(error: unknown): WebSocketMessage {
  if (isWebSocketMessage(error)) return error;
  return encodeJson(
    error instanceof Error && !('toJSON' in error) ? { message: error.message, ...(error as object) } : error,
  );
}

/** An incoming message: text as a `string`, binary as bytes. */
export function decodeMessage(data: unknown, isBinary: boolean): ReceivedMessage {
  // What `ws` delivers: a view of it would cost more than the rest of this function.
  if (Buffer.isBuffer(data)) return isBinary ? data : data.toString();
  if (typeof data === 'string') return isBinary ? Buffer.from(data) : data;
  const bytes = toBytes(data);
  if (bytes === undefined) throw new TypeError(expected('a message of text or bytes', data));
  return isBinary ? bytes : toBuffer(bytes).toString();
}

/** Size of an incoming message in bytes; 0 if it is not a message. */
export function byteLengthOf(data: unknown): number {
  if (data instanceof Uint8Array) return data.length;
  if (typeof data === 'string') return Buffer.byteLength(data);
  if (data instanceof ArrayBuffer || ArrayBuffer.isView(data)) return data.byteLength;
  if (isBlob(data)) return data.size;
  return Array.isArray(data) ? data.reduce<number>((sum, part) => sum + byteLengthOf(part), 0) : 0;
}

/** The reason of a close as text, in whatever form a socket reports it. */
export function decodeReason(reason: unknown): string {
  if (typeof reason === 'string') return reason;
  const bytes = toBytes(reason);
  return bytes === undefined ? '' : toBuffer(bytes).toString();
}

function toBytes(data: unknown): Uint8Array | undefined {
  if (data instanceof Uint8Array) return data;
  // uWebSockets.js lends it for the time of a callback.
  if (data instanceof ArrayBuffer) return Buffer.from(data.slice(0));
  if (ArrayBuffer.isView(data)) return toBuffer(data);
  // `ws` with binaryType 'fragments'.
  return Array.isArray(data) ? Buffer.concat(data as Uint8Array[]) : undefined;
}
