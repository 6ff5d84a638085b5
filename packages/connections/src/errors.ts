/** Stable identifiers of the library's own errors: match on `code`, never on the text. */
export type ConnectionsErrorCode =
  /** Another live connection has the id in that namespace (`onDuplicate: 'reject'`). */
  | 'ERR_DUPLICATE_CONNECTION'
  /** The connection is already in another pool. */
  | 'ERR_CONNECTION_IN_USE'
  /** The connection had closed before it could be added. */
  | 'ERR_CONNECTION_CLOSED'
  /** The pool is draining or drained: it takes no newcomers. */
  | 'ERR_POOL_DRAINING'
  /** The connection would be in more rooms than `maxRoomsPerConnection`. */
  | 'ERR_TOO_MANY_ROOMS'
  /** A message is larger than the broker of the cluster takes: only this node has got it. */
  | 'ERR_RELAY_TOO_LARGE'
  /** Another node has sent invalid bytes, which were dropped. */
  | 'ERR_CLUSTER_MESSAGE'
  /** Another node has the same id: this one has taken a new one. */
  | 'ERR_NODE_ID_IN_USE';

/**
 * A well-formed call in the wrong state.
 *
 * Mistakes in arguments are a `TypeError` or a `RangeError`. Faults of peers and networks are returned outcomes
 * (`false`, counts) or events, never exceptions.
 */
export class ConnectionsError extends Error {
  override readonly name = 'ConnectionsError';
  readonly code: ConnectionsErrorCode;

  constructor(code: ConnectionsErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Longest piece of a received value that an error message repeats, in characters. */
const SHOWN_CHARACTERS = 60;

/** The text of an argument error: what was expected, what was received, and its type. */
export function expected(what: string, received: unknown): string {
  const type = received === null ? 'null' : typeof received;
  return `Expected ${what}, got \`${show(received)}\` (${type})`;
}

/** A short text for any value, to be part of an error message. */
export function show(value: unknown): string {
  if (typeof value === 'object' && value !== null) return tagOf(value);
  const text = typeof value === 'function' ? value.name || 'anonymous' : String(value);
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}

function tagOf(value: object): string {
  try {
    return Object.prototype.toString.call(value).slice('[object '.length, -1);
  } catch {
    // Its `Symbol.toStringTag` throws.
    return 'Object';
  }
}

/** Anything can be thrown: what listeners of `error` get is always an `Error`, if need be with the value as its `cause`. */
export function toError(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown;
  return new Error(`Something that is not an Error was thrown: ${show(thrown)}`, { cause: thrown });
}
