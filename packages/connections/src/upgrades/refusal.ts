import { STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http';
import type { Duplex } from 'node:stream';
import { assertObject } from '../arguments.js';
import { expected } from '../errors.js';

/**
 * Headers of a refusal; a list is one header line per value. `Connection`, `Content-Length` and `Transfer-Encoding` are
 * ignored: a refusal has no body, and its connection ends.
 */
export type RefusalHeaders = Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** Headers that say where the answer ends: a second one of them would contradict ours. */
const FRAMING = new Set(['connection', 'content-length', 'transfer-encoding', 'keep-alive']);
/** `Retry-After` of refused upgrades, in seconds (RFC 9110 §10.2.3). */
export const DEFAULT_RETRY_AFTER_SECONDS = 5;
/** How long we read on after a refusal, in ms: until then the client may still be sending. */
const LINGER_MS = 1_000;

/**
 * Answers an upgrade request with an HTTP status instead of a WebSocket. The answer arrives whole, even if the client is
 * still sending, and a client that has gone already breaks nothing.
 *
 * @param socket that of the `upgrade` event
 * @param status 300 to 599
 * @throws {TypeError} a header name or value is not valid
 * @throws {RangeError} the status is no refusal
 * @see RFC 6455 §4.2.2
 */
export function refuseUpgrade(socket: Duplex, status: number, headers: RefusalHeaders = {}): void {
  assertRefusal(status, headers);
  // The peer may be gone already.
  socket.on('error', () => socket.destroy());
  // Bytes that nobody reads would turn our end into a reset, which overtakes the answer.
  socket.resume();
  const overdue = setTimeout(() => socket.destroy(), LINGER_MS).unref();
  socket.once('close', () => clearTimeout(overdue));
  socket.end(answerOf(status, headers));
}

/** Checks what a refusal consists of, before anything is sent. */
export function assertRefusal(status: unknown, headers: unknown): void {
  if (typeof status !== 'number') throw new TypeError(expected('status to be a number', status));
  if (!Number.isInteger(status) || status < 300 || status > 599) {
    throw new RangeError(expected('status to be an integer from 300 to 599', status));
  }
  assertObject('headers', headers);
  for (const [name, value] of linesOf(headers as RefusalHeaders)) {
    validateHeaderName(name);
    validateHeaderValue(name, value);
  }
}

function answerOf(status: number, headers: RefusalHeaders): string {
  const lines = linesOf(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const reason = STATUS_CODES[status] ?? '';
  return `HTTP/1.1 ${status} ${reason}\r\n${lines.join('')}Connection: close\r\nContent-Length: 0\r\n\r\n`;
}

function linesOf(headers: RefusalHeaders): [name: string, value: string][] {
  return Object.entries(headers).flatMap(([name, value]) =>
    value === undefined || FRAMING.has(name.toLowerCase())
      ? []
      : [value].flat().map((one): [string, string] => [name, String(one)]),
  );
}

export function assertRetryAfter(retryAfter: unknown = DEFAULT_RETRY_AFTER_SECONDS): void {
  if (Number.isSafeInteger(retryAfter) && (retryAfter as number) >= 0) return;
  throw new RangeError(expected('retryAfter to be a whole number of seconds', retryAfter));
}
