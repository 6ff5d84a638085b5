import type { AnyConnection } from './connection.js';
import type { Registry } from './registry.js';

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
  /** Their rooms are announced after themselves, those that listeners have them join meanwhile too. */
  readonly #newcomers = new Set<C>();
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
    if (!this.#newcomers.has(connection)) this.#announce(connection);
  }

  /** A newcomer, which is about to be announced, has joined these rooms. */
  expectNewcomer(connection: C, rooms: readonly string[]): void {
    this.#newcomers.add(connection);
    this.#expect(connection, rooms);
  }

  /** The newcomer has been announced, or has left again. */
  announceNewcomer(connection: C): void {
    this.#newcomers.delete(connection);
    this.#announce(connection);
  }

  #expect(connection: C, rooms: readonly string[]): void {
    // It joins again while its leaving is being announced.
    this.#announceLeft(connection);
    const unannounced = this.#unannounced.get(connection) ?? new Set<string>();
    for (const room of rooms) unannounced.add(room);
    if (unannounced.size > 0) this.#unannounced.set(connection, unannounced);
  }

  #announce(connection: C): void {
    for (;;) {
      // User code may announce the others from within.
      const [room] = this.#unannounced.get(connection) ?? [];
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
    const left = this.#left.get(connection) ?? new Set<string>();
    for (const room of rooms) if (!this.#take(connection, room)) left.add(room);
    if (left.size > 0) this.#left.set(connection, left);
  }

  #announceLeft(connection: C): void {
    for (;;) {
      // A listener may cause the others to be announced.
      const left = this.#left.get(connection);
      const [room] = left ?? [];
      if (left === undefined || room === undefined) break;
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
