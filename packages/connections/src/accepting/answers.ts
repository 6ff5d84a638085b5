import { assertId, assertNamespace, isIterable } from '../arguments.js';
import { toRooms } from '../audience.js';
import { assertCloseArguments, CloseCode } from '../close-codes.js';
import { expected } from '../errors.js';
import { assertRefusal } from '../upgrades/refusal.js';
import type { Identity, Refusal } from './accept-options.js';

/** March 1973 in ms, and the year 5138 in s: an earlier time, after the epoch, is in another unit or relative. */
const EARLIEST_EXPIRY_MS = 1e11;

export const UNAUTHORIZED: Refusal = { status: 401 };

/**
 * The error for an answer of another kind. A promise where none is expected comes too late; what it rejects with is
 * reported too, and does not become an unhandled rejection.
 */
export function wrongAnswer(what: string, answer: unknown, report: (error: unknown) => void): TypeError {
  if (typeof answer === 'object') Promise.resolve(answer).catch(report);
  return new TypeError(expected(what, answer));
}

/** Whether it can be a key. A promise, or an object, would be a key of its own for every client. */
export function isKey(key: unknown): boolean {
  return key === undefined || ['string', 'number', 'bigint'].includes(typeof key);
}

/** Whether the answer has to be waited for. Reading `then` may throw. */
export function isThenable(answer: unknown): answer is PromiseLike<unknown> {
  return typeof (answer as PromiseLike<unknown> | null | undefined)?.then === 'function';
}

export function isIdentity(answer: Identity | Refusal): answer is Identity {
  return (answer as Partial<Identity>).id !== undefined;
}

/** What `authenticate` answered, checked before the client gets a 101. @throws {TypeError | RangeError} */
export function checked(answer: unknown): Identity | Refusal {
  if (answer === undefined || answer === null || answer === false) return UNAUTHORIZED;
  const given = answer as Identity | Refusal;
  if (isIdentity(given)) return hasExpired(given) ? UNAUTHORIZED : given;
  const { status, headers, closeCode = CloseCode.Normal, reason = '' } = given;
  if ((status as unknown) === undefined) {
    throw new TypeError(expected('authenticate to answer { id, namespace }, { status } or false', answer));
  }
  assertRefusal(status, headers ?? {});
  assertCloseArguments(closeCode, reason);
  return given;
}

function hasExpired(identity: Identity): boolean {
  const { id, namespace, rooms, expiresAt = Infinity } = identity;
  // An answer with `status: 403` and an id means to refuse: letting the client in would be the worse mistake.
  if (typeof (identity as Partial<Refusal>).status === 'number') {
    throw new TypeError(
      'Expected authenticate to answer an identity or a refusal, got both: `id` and `status`',
    );
  }
  assertId(id);
  assertNamespace(namespace);
  // A list that can be read only once is checked when it is joined.
  if (rooms !== undefined && (Array.isArray(rooms) || !isIterable(rooms))) toRooms('rooms', rooms);
  assertExpiry(expiresAt);
  return expiresAt <= Date.now();
}

function assertExpiry(expiresAt: unknown): void {
  if (typeof expiresAt !== 'number' || Number.isNaN(expiresAt)) {
    throw new TypeError(expected('expiresAt to be a number of ms since the epoch', expiresAt));
  }
  if (expiresAt <= 0 || expiresAt >= EARLIEST_EXPIRY_MS) return;
  throw new RangeError(expected('expiresAt to be in ms since the epoch, not in seconds', expiresAt));
}

/** @see RFC 6455 §7.4.2: codes from 4000 on are for applications */
export function closeCodeOf(status: number): number {
  if (status >= 400 && status < 500) return 4000 + status;
  return status === 503 ? CloseCode.TryAgainLater : CloseCode.InternalError;
}
