import type { AnyConnection } from './connection.js';
import { addTo, type Registry } from './registry.js';

/** What happens in rooms, for the pool to pass on. None of this throws. */
export interface RoomListener<C> {
  joinedRoom(connection: C, room: string): void;
  leftRoom(connection: C, room: string): void;
  emptiedRoom(namespace: string, room: string): void;
}

/** Who is in which room, and the events about it. Whatever a call changes has changed before the first listener hears of it. */
export class RoomMembership<C extends AnyConnection> {
  readonly #registry: Registry<C>;
  readonly #listener: RoomListener<C>;
  /** Rooms that were joined and not announced yet: user code may leave them before that, and nobody hears of them. */
  readonly #unannounced = new Map<C, Set<string>>();
  /**
   * Their rooms are announced after themselves, those that listeners have them join meanwhile too. One at most, unless
   * listeners add others.
   */
  readonly #newcomers: C[] = [];
  /** Rooms that connections have left, without an announcement yet. */
  readonly #left = new Map<C, Set<string>>();

  constructor(registry: Registry<C>, listener: RoomListener<C>) {
    this.#registry = registry;
    this.#listener = listener;
  }

  join(connection: C, rooms: readonly string[]): void {
    // It is just being replaced or removed.
    if (!this.#registry.has(connection)) return;
    this.#registry.enter(connection, rooms);
    this.#expect(connection, rooms);
    if (!this.#newcomers.includes(connection)) this.#announce(connection);
  }

  /** A newcomer, which is about to be announced, has joined these rooms. */
  expectNewcomer(connection: C, rooms: readonly string[]): void {
    this.#newcomers.push(connection);
    this.#expect(connection, rooms);
  }

  /** The newcomer has been announced, or has left again. */
  announceNewcomer(connection: C): void {
    takeFrom(this.#newcomers, connection);
    this.#announce(connection);
  }

  #expect(connection: C, rooms: readonly string[]): void {
    // It joins again while its leaving is being announced.
    this.#announceLeft(connection);
    for (const room of rooms) addTo(this.#unannounced, connection, room);
  }

  #announce(connection: C): void {
    for (;;) {
      // User code may announce the others from within.
      const room = firstOf(this.#unannounced.get(connection));
      if (room === undefined) return;
      this.#take(connection, room);
      this.#registry.setKnown(connection.namespace, room);
      this.#listener.joinedRoom(connection, room);
    }
  }

  #take(connection: C, room: string): boolean {
    const unannounced = this.#unannounced.get(connection);
    if (!unannounced?.delete(room)) return false;
    if (unannounced.size === 0) this.#unannounced.delete(connection);
    return true;
  }

  leave(connection: C, rooms: readonly string[]): void {
    // It is just being replaced or removed, and its leaving is announced with that.
    if (!this.#registry.has(connection)) return;
    this.#registry.exit(connection, rooms);
    this.expectLeft(connection, rooms);
    this.announceLeft(connection, rooms);
  }

  /** These rooms were left, and this will be announced. */
  expectLeft(connection: C, rooms: readonly string[]): void {
    for (const room of rooms) if (!this.#take(connection, room)) addTo(this.#left, connection, room);
  }

  #announceLeft(connection: C): void {
    for (;;) {
      // A listener may cause the others to be announced.
      const left = this.#left.get(connection);
      if (left === undefined) return;
      const room = firstOf(left);
      if (room === undefined) break;
      left.delete(room);
      this.#listener.leftRoom(connection, room);
    }
    this.#left.delete(connection);
  }

  /** These rooms were left. */
  announceLeft(connection: C, rooms: readonly string[]): void {
    this.#announceLeft(connection);
    const { namespace } = connection;
    for (const room of rooms)
      if (this.#registry.takeEmptied(namespace, room)) this.#listener.emptiedRoom(namespace, room);
  }
}

/** Takes it out of a few, for which an array is cheaper than a set. @returns whether it was there */
export function takeFrom<T>(items: T[], item: T): boolean {
  const at = items.lastIndexOf(item);
  if (at === -1) return false;
  if (at === items.length - 1) items.pop();
  else items.splice(at, 1);
  return true;
}

function firstOf(rooms: ReadonlySet<string> | undefined): string | undefined {
  return rooms?.values().next().value;
}
