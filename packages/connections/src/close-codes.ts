import { expected } from './errors.js';

/**
 * Close codes that the library uses or expects to see.
 *
 * @see RFC 6455 §7.4.1 and the IANA registry "WebSocket Close Code Number" (1012-1014)
 */
export const CloseCode = {
  /** The purpose of the connection is fulfilled; tells clients not to come back. The default of `close()`. */
  Normal: 1000,
  /** The endpoint goes away: the server ends, or the user leaves the page. */
  GoingAway: 1001,
  /** Reported, never sent: the peer's close frame carried no code. */
  NoStatus: 1005,
  /** Reported, never sent: the connection ended without a close frame (lost, dead or terminated). */
  Abnormal: 1006,
  /** The client sent more than `rateLimit` allows. */
  PolicyViolation: 1008,
  /** An unexpected condition on the server; the default of `sendErrorThenClose()`. */
  InternalError: 1011,
  /** The service restarts: come back. The default of `drainConnections()`. */
  ServiceRestart: 1012,
  /** Overloaded or not taking connections: try again later. Slow readers, and newcomers while draining. */
  TryAgainLater: 1013,
  /** The client has no valid session, or its session has ended (after HTTP 401; `acceptConnections`). */
  Unauthorized: 4401,
  /** The page comes from another origin (after HTTP 403; `acceptConnections`). */
  Forbidden: 4403,
  /** Nothing was received for as long as the idle limit (after HTTP 408). */
  IdleTimeout: 4408,
  /** A newer connection took this one's id (after HTTP 409; `onDuplicate: 'replace'`). */
  Replaced: 4409,
  /** Too many connections of one client (after HTTP 429; `acceptConnections`). */
  TooManyRequests: 4429,
} as const;

/** Longest reason, in bytes of UTF-8: a control frame holds 125 bytes and the code takes 2 (RFC 6455 §5.5). */
export const MAX_REASON_BYTES = 123;

function isSendable(code: number): boolean {
  if (!Number.isInteger(code)) return false;
  if (code >= 3000) return code <= 4999;
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

/**
 * Checks a close code and reason before anything is touched: `ws` checks after it has changed its state, and a
 * socket whose `close` threw there is stuck for ever.
 *
 * @throws {TypeError} the code is not a number or the reason not a string
 * @throws {RangeError} the code may not be sent, or the reason is longer than 123 bytes
 * @see RFC 6455 §5.5, §7.4
 */
export function assertCloseArguments(code: unknown, reason: unknown): void {
  if (typeof code !== 'number') throw new TypeError(expected('a close code (number)', code));
  if (!isSendable(code)) {
    throw new RangeError(expected('a close code of 1000-1003, 1007-1014 or 3000-4999', code));
  }
  if (typeof reason !== 'string') throw new TypeError(expected('a close reason (string)', reason));
  const bytes = Buffer.byteLength(reason);
  if (bytes > MAX_REASON_BYTES) {
    throw new RangeError(
      `Expected a close reason of at most ${MAX_REASON_BYTES} bytes of UTF-8, got ${bytes} bytes`,
    );
  }
}

/** The code and reason of a close frame. */
export interface Closing {
  readonly code: number;
  readonly reason: string;
}
