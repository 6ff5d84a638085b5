import { assertRoomCount } from './audience.js';
import { Inbound } from './receiving/inbound.js';

const NO_ROOMS: readonly string[] = [];

/** The rooms of one connection. While it is in a pool, the pool knows them too. */
export abstract class RoomMember extends Inbound {
  #rooms: Set<string> | undefined;
  /** It has left its pool, and the rooms with it. They are shown until all listeners have run. */
  #arePast = false;

  /** Closing has begun, on either side. */
  abstract get isClosed(): boolean;

  /** Live. */
  get rooms(): ReadonlySet<string> {
    return (this.#rooms ??= new Set<string>());
  }

  /** As they are now. Costs nothing for a connection that was never in a room. */
  get roomNames(): readonly string[] {
    return this.#rooms === undefined ? NO_ROOMS : [...this.#rooms];
  }

  /** @param names each once @returns whether it is in all of them afterwards @throws {ConnectionsError} `ERR_TOO_MANY_ROOMS` */
  joinRooms(names: readonly string[]): boolean {
    if (this.isClosed) return false;
    this.forgetRooms();
    if (names.length === 0) return true;
    const rooms = (this.#rooms ??= new Set<string>());
    const joined = names.filter((name) => !rooms.has(name));
    // Clients often choose the names. Before it is in a pool only the application can have joined them.
    if (this.pool) assertRoomCount(rooms.size + joined.length, this.pool.settings.maxRoomsPerConnection);
    for (const name of joined) rooms.add(name);
    if (joined.length > 0) this.pool?.onJoin(this.facade, joined);
    return names.every((name) => rooms.has(name));
  }

  leaveRooms(names: readonly string[]): void {
    const left = names.filter((name) => this.#rooms?.delete(name));
    if (left.length > 0) this.pool?.onLeave(this.facade, left);
  }

  /** It leaves its pool. */
  protected endRooms(): void {
    this.#arePast = true;
  }

  /** All listeners know that it has left its pool, or it joins a room again before that. */
  forgetRooms(): void {
    if (this.#arePast) this.clearRooms();
  }

  /** No pool has taken it: it leaves the rooms that it joined beforehand. */
  refuseRooms(): void {
    if (this.pool === undefined) this.clearRooms();
  }

  protected clearRooms(): void {
    this.#rooms?.clear();
    this.#arePast = false;
  }
}
