import { assertId, assertKeys, isIterable } from './arguments.js';
import { ConnectionsError, expected } from './errors.js';

/**
 * Who a broadcast is for. Every list is read at the call; unknown rooms and ids are ignored.
 *
 * `rooms`, `exceptRooms` and `exceptions` must not be `undefined`: leave them out instead. Otherwise an unset variable
 * would turn a message to a room into a message to everybody.
 */
export interface AudienceOptions<ID> {
  /**
   * Only members of these rooms get it, each of them once. A string is one room, an iterable many; an empty one means
   * nobody.
   *
   * @default the whole namespace
   */
  readonly rooms?: string | Iterable<string>;
  /** Members of these rooms do not get it. */
  readonly exceptRooms?: string | Iterable<string>;
  /** Connections with these ids do not get it. */
  readonly exceptions?: Iterable<ID> & object;
  /** Only connections of this pool get it, none of other nodes. @default false */
  readonly local?: boolean | undefined;
}

/** See `broadcastMessage`. */
export interface BroadcastOptions<ID> extends AudienceOptions<ID>, ConflateOptions {}

/** Latest value wins. */
export interface ConflateOptions {
  /**
   * While a reader is behind, a newer message replaces the one that waits for it under the same key, and takes its place.
   * If the newer one exceeds `maxBufferedBytes` and is dropped, the older one is given up too. A connection has one key
   * space for all its messages, broadcast or private.
   */
  readonly conflate?: string | undefined;
}

/** See `send` of the pool. */
export interface SendOptions extends ConflateOptions {
  /** Only a connection of this pool gets it, none of other nodes. @default false */
  readonly local?: boolean | undefined;
}

/** What a broadcast or `closeAll` takes as exceptions: ids to leave out, or options. */
export type AudienceArgument<ID, Options = BroadcastOptions<ID>> = (Iterable<ID> & object) | Options;

/** Who a broadcast is for, read and checked. */
export interface Audience<ID> {
  /** `undefined`: the whole namespace. Names each room once. */
  readonly rooms: readonly string[] | undefined;
  readonly exceptRooms: readonly string[];
  readonly exceptions: readonly ID[];
  readonly conflate: string | undefined;
  readonly isLocal: boolean;
}

const NONE: readonly never[] = [];
const AUDIENCE_KEYS = ['rooms', 'exceptRooms', 'exceptions', 'local'] as const;
const BROADCAST_KEYS = [...AUDIENCE_KEYS, 'conflate'] as const;

/**
 * @param given ids to leave out, or options
 * @throws {TypeError} it is neither, or it has an unknown option or one of the wrong type
 */
export function toAudience<ID>(given: AudienceArgument<ID> | undefined): Audience<ID> {
  if (given === undefined) return audienceFrom<ID>({});
  if (isIterable(given)) return audienceFrom<ID>({ exceptions: given as Iterable<ID> & object });
  if (typeof given !== 'object' || (given as unknown) === null) {
    throw new TypeError(expected('exceptions to be an iterable of ids, or an object with options', given));
  }
  assertOptions('the options of a broadcast', given, BROADCAST_KEYS);
  return audienceFrom(given);
}

/** The same audience, to be passed on: its lists have been read, and may not be readable twice. */
export function toArgument<ID>(audience: Audience<ID>): AudienceArgument<ID> {
  const { rooms, exceptRooms, exceptions, conflate, isLocal } = audience;
  const isPlain = rooms === undefined && exceptRooms.length === 0 && conflate === undefined && !isLocal;
  if (isPlain) return exceptions;
  return { ...(rooms && { rooms }), exceptRooms, exceptions, conflate, local: isLocal };
}

/**
 * The options of `closeAll`.
 *
 * @param others keys that are allowed besides those of an audience
 * @throws {TypeError} an option is unknown or of the wrong type
 */
export function toClosingAudience<ID>(options: AudienceOptions<ID>, others: readonly string[]): Audience<ID> {
  assertOptions('the options of closeAll', options, [...AUDIENCE_KEYS, ...others]);
  return audienceFrom(options);
}

/** Any other object without the known keys, such as a list or a promise, would mean everybody. */
function assertOptions(name: string, options: object, keys: readonly string[]): void {
  const prototype: unknown = typeof options === 'object' && Object.getPrototypeOf(options);
  if (prototype !== Object.prototype && prototype !== null)
    throw new TypeError(expected(`${name} to be a plain object`, options));
  assertKeys(name, options, keys);
}

/** @throws {TypeError} an option is unknown or of the wrong type */
export function assertSendOptions(options: unknown, known: readonly string[] = ['conflate']): void {
  // `send` may be a listener or a callback: `connection.on('message', connection.send)` passes `isBinary`.
  if (options === undefined || typeof options === 'boolean' || typeof options === 'number') return;
  assertKeys('the options of send', options, known);
  const { conflate, local } = options as SendOptions;
  assertConflate(conflate);
  assertLocal(local);
}

/**
 * The names of rooms. A string is one name, so that it is not taken apart into characters.
 *
 * @throws {TypeError} not a string and not an iterable of strings
 */
export function toRooms(name: string, given: unknown): string[] {
  if (typeof given === 'string') return [given];
  if (!isIterable(given))
    throw new TypeError(expected(`${name} to be a room or an iterable of rooms`, given));
  const rooms = [...new Set(given)];
  for (const room of rooms) assertRoom(`each of ${name}`, room);
  return rooms as string[];
}

/** @throws {TypeError} not a string */
export function assertRoom(name: string, room: unknown): void {
  if (typeof room !== 'string') throw new TypeError(expected(`${name} to be a string`, room));
}

/** @throws {ConnectionsError} `ERR_TOO_MANY_ROOMS` */
export function assertRoomCount(count: number, max: number): void {
  if (count <= max) return;
  const message = `A connection can be in at most ${max} rooms (maxRoomsPerConnection), this one would be in ${count}`;
  throw new ConnectionsError('ERR_TOO_MANY_ROOMS', message);
}

function audienceFrom<ID>(options: BroadcastOptions<ID>): Audience<ID> {
  const { rooms, exceptRooms, exceptions, conflate, local } = options;
  assertConflate(conflate);
  assertLocal(local);
  return {
    rooms: 'rooms' in options ? toRooms('rooms', rooms) : undefined,
    exceptRooms: 'exceptRooms' in options ? toRooms('exceptRooms', exceptRooms) : NONE,
    exceptions: 'exceptions' in options ? toIds<ID>(exceptions) : NONE,
    conflate,
    isLocal: local ?? false,
  };
}

function toIds<ID>(exceptions: unknown): ID[] {
  if (!isIterable(exceptions)) {
    throw new TypeError(expected('exceptions to be an iterable of ids', exceptions));
  }
  const ids = [...exceptions];
  for (const id of ids) assertId(id, 'each of exceptions');
  return ids as ID[];
}

function assertConflate(conflate: unknown): void {
  if (conflate === undefined || typeof conflate === 'string') return;
  throw new TypeError(expected('conflate to be a string', conflate));
}

function assertLocal(local: unknown): void {
  if (local === undefined || typeof local === 'boolean') return;
  throw new TypeError(expected('local to be a boolean', local));
}
