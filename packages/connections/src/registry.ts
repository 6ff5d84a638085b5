import { coreOf, type AnyConnection } from './connection.js';
import { isKnown, Namespace, setKnown } from './namespace.js';
import type { SendingContext } from './sending/bounded-socket.js';
import type { EndOfTurn } from './sending/end-of-turn.js';

/**
 * Who is connected: namespace -> id -> connection. A namespace exists exactly as long as it has connections.
 *
 * Maps and not objects, so that names such as `__proto__` are ordinary.
 */
export class Registry<C extends AnyConnection> {
  readonly namespaces = new Map<string, Namespace<C>>();
  /** Their members: what users get. */
  readonly members = new Map<string, Map<C['id'], C>>();
  readonly #endOfTurn: EndOfTurn;
  readonly #context: SendingContext;
  /** Known rooms that have lost their last member and were not announced as empty yet, by namespace. */
  readonly #emptied = new Map<string, Set<string>>();
  #size = 0;
  #rooms = 0;

  constructor(endOfTurn: EndOfTurn, context: SendingContext) {
    this.#endOfTurn = endOfTurn;
    this.#context = context;
  }

  /** Connections in all namespaces. */
  get size(): number {
    return this.#size;
  }

  /** Rooms in all namespaces. */
  get rooms(): number {
    return this.#rooms;
  }

  find(namespace: string, id: C['id']): C | undefined {
    return this.namespaces.get(namespace)?.members.get(id);
  }

  has(connection: C): boolean {
    return this.find(connection.namespace, connection.id) === connection;
  }

  all(): C[] {
    return [...this.namespaces.values()].flatMap((namespace) => [...namespace.members.values()]);
  }

  /**
   * Adds the connection, and enters the rooms that it has joined. Its id is never missing, not for an instant: a
   * connection that had it is replaced, leaves its rooms, and is returned with them.
   */
  add(connection: C): { readonly connection: C; readonly rooms: readonly string[] } | undefined {
    let namespace = this.namespaces.get(connection.namespace);
    if (namespace === undefined) {
      namespace = new Namespace<C>(this.#endOfTurn, this.#context);
      this.namespaces.set(connection.namespace, namespace);
      this.members.set(connection.namespace, namespace.members);
    }
    const replaced = namespace.members.get(connection.id);
    namespace.join(connection);
    if (replaced === undefined) this.#size++;
    // Read before its pending messages are delivered, which may run user code.
    const rooms = replaced === undefined ? [] : coreOf(replaced).roomNames;
    if (replaced !== undefined) this.exit(replaced, rooms);
    this.enter(connection, coreOf(connection).roomNames);
    if (replaced === undefined) return undefined;
    coreOf(replaced).outbox.leave();
    return { connection: replaced, rooms };
  }

  /**
   * Removes exactly this connection, not whatever has its id now.
   *
   * @returns the rooms that it has left with that; `undefined` if it was not there
   */
  remove(connection: C): readonly string[] | undefined {
    if (!this.has(connection)) return undefined;
    // First: delivering what waits for it may run user code, which may remove it too.
    coreOf(connection).outbox.leave();
    const namespace = this.namespaces.get(connection.namespace);
    if (namespace?.members.get(connection.id) !== connection) return undefined;
    const rooms = coreOf(connection).roomNames;
    this.exit(connection, rooms);
    namespace.members.delete(connection.id);
    this.#size--;
    if (namespace.members.size === 0) {
      this.namespaces.delete(connection.namespace);
      this.members.delete(connection.namespace);
    }
    return rooms;
  }

  /** Puts a member of its namespace into rooms. */
  enter(connection: C, rooms: Iterable<string>): void {
    const namespace = this.namespaces.get(connection.namespace) as Namespace<C>;
    for (const room of rooms) {
      if (!namespace.rooms.has(room)) this.#rooms++;
      namespace.enter(room, connection);
      // Those who have heard of it and not yet of its end go on knowing it.
      if (this.takeEmptied(connection.namespace, room)) this.setKnown(connection.namespace, room);
    }
  }

  exit(connection: C, rooms: Iterable<string>): void {
    const name = connection.namespace;
    for (const room of rooms) {
      const exited = this.namespaces.get(name)?.exit(room, connection);
      if (exited === undefined) continue;
      this.#rooms--;
      if (!isKnown(exited)) continue;
      addTo(this.#emptied, name, room);
    }
  }

  /** Somebody hears of a room that exists, and is to hear of its end. */
  setKnown(namespace: string, room: string): void {
    const known = this.namespaces.get(namespace)?.rooms.get(room);
    if (known !== undefined) setKnown(known);
  }

  /** Whether a known room has become empty since the last call, and still is. */
  takeEmptied(namespace: string, room: string): boolean {
    const emptied = this.#emptied.get(namespace);
    if (!emptied?.delete(room)) return false;
    if (emptied.size === 0) this.#emptied.delete(namespace);
    return true;
  }
}

/** Adds a room to those of a key. Keys without rooms have no set: most connections join and leave with none. */
export function addTo<K>(sets: Map<K, Set<string>>, key: K, room: string): void {
  const rooms = sets.get(key);
  if (rooms === undefined) sets.set(key, new Set([room]));
  else rooms.add(room);
}
