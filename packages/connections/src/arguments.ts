import { expected } from './errors.js';
import type { NativeConnectionHandlers } from './sockets/native-websocket.js';

/** @throws {TypeError} it cannot be an id: not a string, a number or a bigint, or NaN */
export function assertId(id: unknown, name = 'id'): void {
  if (typeof id === 'string' || typeof id === 'bigint') return;
  if (typeof id === 'number' && !Number.isNaN(id)) return;
  throw new TypeError(expected(`${name} to be a string, a number or a bigint`, id));
}

export function assertHandlers(handlers: unknown): void {
  if (handlers === undefined) return;
  const { send, close } = (handlers ?? {}) as Partial<NativeConnectionHandlers>;
  if (typeof send === 'function' && typeof close === 'function') return;
  throw new TypeError(expected('handlers to be an object with send() and close()', handlers));
}

export function assertNamespace(namespace: unknown): void {
  if (typeof namespace === 'string') return;
  throw new TypeError(expected('namespace to be a string', namespace));
}

/**
 * Finds misspelt names of options, which JavaScript would ignore.
 *
 * @throws {TypeError} not an object, or it has a key that does not exist
 */
export function assertKeys(name: string, options: unknown, known: readonly string[]): void {
  assertObject(name, options);
  for (const key of Object.keys(options as object)) {
    if (known.includes(key)) continue;
    throw new TypeError(`Unknown option \`${key}\` in ${name}. Valid options: ${known.join(', ')}`);
  }
}

export function assertObject(name: string, value: unknown): void {
  if (typeof value === 'object' && value !== null) return;
  throw new TypeError(expected(`${name} to be an object`, value));
}

/** For an option or argument that may be left out. */
export function assertFunction(name: string, value: unknown): void {
  if (value === undefined || typeof value === 'function') return;
  throw new TypeError(expected(`${name} to be a function`, value));
}

export function assertMethod(name: string, value: unknown, method: string | symbol): void {
  if (typeof (value as Record<PropertyKey, unknown> | null | undefined)?.[method] === 'function') return;
  throw new TypeError(expected(`${name} to have ${String(method)}()`, value));
}

export function assertOneOf(name: string, allowed: readonly string[], value: unknown): void {
  if (typeof value === 'string' && allowed.includes(value)) return;
  throw new TypeError(expected(`${name} to be '${allowed.join("' or '")}'`, value));
}

/** Longest time: what a Node timer can hold (2^31 - 1 ms, about 24.8 days). */
const MAX_MS = 2_147_483_647;

/**
 * @throws {TypeError} not a number
 * @throws {RangeError} below 1 (Node's timers have no shorter time) or above the maximum
 */
export function assertMs(name: string, ms: unknown, maxMs = MAX_MS): void {
  if (typeof ms !== 'number') throw new TypeError(expected(`${name} to be a number of milliseconds`, ms));
  if (!(ms >= 1 && ms <= maxMs)) {
    throw new RangeError(expected(`${name} to be at least 1 and at most ${maxMs} ms`, ms));
  }
}

/**
 * @throws {TypeError} not a number
 * @throws {RangeError} 0, negative, NaN, infinite or fractional
 */
export function assertCount(name: string, count: unknown): void {
  if (typeof count !== 'number') throw new TypeError(expected(`${name} to be a number`, count));
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new RangeError(expected(`${name} to be an integer of at least 1`, count));
  }
}

/** Strings are iterable too, but are never meant as a list here. */
export function isIterable(value: unknown): value is Iterable<unknown> & object {
  return typeof value === 'object' && value !== null && Symbol.iterator in value;
}
