import { CloseCode } from './close-codes.js';
import { coreOf, type AnyConnection } from './connection.js';
import type { PoolLink } from './user-code.js';
import type { Counters } from './counters.js';
import { assertRoomCount } from './audience.js';
import { ConnectionsError, show, type ConnectionsErrorCode } from './errors.js';
import type { Namespace } from './namespace.js';
import { Registry } from './registry.js';
import type { PoolSettings } from './options.js';
import { RoomMembership, takeFrom, type RoomListener } from './room-membership.js';
import type { EndOfTurn } from './sending/end-of-turn.js';

/** What happens to members, for the pool to pass on. None of this throws. */
export interface MembershipListener<C> extends RoomListener<C> {
  joined(connection: C): void;
  /**
   * @param code `undefined` if it was removed or released
   * @param isKnown `joined` was called for it
   */
  left(connection: C, code: number | undefined, reason: string, isKnown: boolean): void;
  refused(connection: C, error: ConnectionsError): void;
  emptied(namespace: string): void;
}

/** Why a newcomer is not taken. */
interface NotTaken {
  /** Of the close frame. */
  readonly reason: string;
  readonly error: ConnectionsError;
}

/**
 * Who is in the pool: the rules by which connections join and leave.
 *
 * All of them leave through `#gone`, whether they close, are removed, released or replaced.
 */
export class Membership<C extends AnyConnection> {
  readonly rooms: RoomMembership<C>;
  readonly #registry: Registry<C>;
  readonly #settings: PoolSettings<C>;
  readonly #counters: Counters;
  readonly #link: PoolLink;
  readonly #listener: MembershipListener<C>;
  /** By empty namespace: the connection whose closing emptied it. Its `removeConnection` may still ask. */
  readonly #emptiedBy = new Map<string, WeakRef<C>>();
  /** Forgets a namespace when that connection is collected: nobody can ask any more. */
  readonly #forgotten = new FinalizationRegistry<string>((namespace) => {
    if (this.#emptiedBy.get(namespace)?.deref() === undefined) this.#emptiedBy.delete(namespace);
  });
  /**
   * Newcomers that the listener has not been told of yet: user code may remove them before that. One at most, unless it
   * adds others.
   */
  readonly #unannounced: C[] = [];
  /** A member has joined that may take messages which a WebSocket cannot send. */
  #isLenient = false;
  #isClosed = false;

  constructor(
    endOfTurn: EndOfTurn,
    settings: PoolSettings<C>,
    counters: Counters,
    link: PoolLink,
    listener: MembershipListener<C>,
  ) {
    this.#registry = new Registry<C>(endOfTurn, { ...settings, counters });
    this.rooms = new RoomMembership(this.#registry, listener);
    this.#settings = settings;
    this.#counters = counters;
    this.#link = link;
    this.#listener = listener;
  }

  get namespaces(): Map<string, Namespace<C>> {
    return this.#registry.namespaces;
  }

  /** The members of all namespaces: what users get. */
  get members(): Map<string, Map<C['id'], C>> {
    return this.#registry.members;
  }

  /** No newcomers are taken: a drain has begun, and was not aborted. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** A drain begins. */
  close(): void {
    this.#isClosed = true;
    this.#counters.drains++;
  }

  /** The drain was aborted. */
  reopen(): void {
    this.#isClosed = false;
  }

  get size(): number {
    return this.#registry.size;
  }

  /** Rooms in all namespaces. */
  get roomCount(): number {
    return this.#registry.rooms;
  }

  /** Handlers or an overridden `send` may take more than a WebSocket does. Once one has joined, nothing is checked. */
  get isLenient(): boolean {
    return this.#isLenient;
  }

  find(namespace: string, id: C['id']): C | undefined {
    return this.#registry.find(namespace, id);
  }

  all(): C[] {
    return this.#registry.all();
  }

  /**
   * Adds the connection, or closes it and reports why.
   *
   * @throws {ConnectionsError} `ERR_CONNECTION_IN_USE`, `ERR_TOO_MANY_ROOMS`
   */
  add(connection: C): void {
    const core = coreOf(connection);
    if (core.pool === this.#link) return;
    if (core.pool !== undefined) {
      throw new ConnectionsError('ERR_CONNECTION_IN_USE', `${describe(connection)} is in another pool`);
    }
    assertRoomCount(core.roomNames.length, this.#settings.maxRoomsPerConnection);
    const refusal = this.#refusalOf(connection);
    if (refusal === undefined) {
      this.#join(connection);
      return;
    }
    this.#counters.refused++;
    core.closeWithin(CloseCode.TryAgainLater, refusal.reason, this.#settings.closeTimeout);
    this.#listener.refused(connection, refusal.error);
    core.refuseRooms();
  }

  #refusalOf(connection: C): NotTaken | undefined {
    if (connection.closed)
      return notTaken('', 'ERR_CONNECTION_CLOSED', `${describe(connection)} has closed already`);
    if (this.#isClosed) {
      const message = `The pool is draining: ${describe(connection)} was refused`;
      return notTaken('Draining', 'ERR_POOL_DRAINING', message);
    }
    const holder = this.#registry.find(connection.namespace, connection.id);
    // A connection that is closing does not keep its client from coming back.
    if (holder === undefined || holder.closed || this.#settings.onDuplicate === 'replace') return undefined;
    return notTaken('Duplicate id', 'ERR_DUPLICATE_CONNECTION', `${describe(connection)}: the id is taken`);
  }

  #join(connection: C): void {
    const core = coreOf(connection);
    this.#isLenient ||= core.hasHandlers || core.isOverridden;
    // First: adding it delivers what waits for the connection that it replaces, and that may run user code.
    core.join(this.#link);
    this.#emptiedBy.delete(connection.namespace);
    this.#unannounced.push(connection);
    this.rooms.expectNewcomer(connection, core.roomNames);
    const replaced = this.#registry.add(connection);
    if (replaced !== undefined) this.#replace(replaced.connection, replaced.rooms);
    if (takeFrom(this.#unannounced, connection)) this.#listener.joined(connection);
    this.rooms.announceNewcomer(connection);
  }

  #replace(connection: C, rooms: readonly string[]): void {
    const core = coreOf(connection);
    if (connection.closed) {
      this.#gone(connection, undefined, '', rooms);
    } else {
      const reason = 'Replaced by a newer connection';
      core.closeWithin(CloseCode.Replaced, reason, this.#settings.closeTimeout);
      this.#gone(connection, CloseCode.Replaced, reason, rooms);
    }
    core.forgetRooms();
  }

  /** Removes exactly this connection. @returns whether it was the last one, and nobody has joined since */
  remove(connection: C): boolean {
    const { namespace } = connection;
    const hasEmptied = this.#leave(connection, undefined, '');
    coreOf(connection).forgetRooms();
    if (hasEmptied) return true;
    return this.#emptiedBy.get(namespace)?.deref() === connection && this.#emptiedBy.delete(namespace);
  }

  /** The connection has closed, or was released. */
  onGone(connection: C, code: number | undefined, reason: string): void {
    if (!this.#leave(connection, code, reason)) return;
    this.#emptiedBy.set(connection.namespace, new WeakRef(connection));
    this.#forgotten.register(connection, connection.namespace);
  }

  #leave(connection: C, code: number | undefined, reason: string): boolean {
    const rooms = this.#registry.remove(connection);
    if (rooms === undefined) return false;
    const { namespace } = connection;
    const hasEmptied = !this.namespaces.has(namespace);
    this.#gone(connection, code, reason, rooms);
    // Unless a listener has added a connection.
    if (!hasEmptied || this.namespaces.has(namespace)) return false;
    this.#listener.emptied(namespace);
    return true;
  }

  /** @param rooms that it has left with the pool */
  #gone(connection: C, code: number | undefined, reason: string, rooms: readonly string[]): void {
    coreOf(connection).leave();
    this.rooms.expectLeft(connection, rooms);
    this.#listener.left(connection, code, reason, !takeFrom(this.#unannounced, connection));
    this.rooms.announceLeft(connection, rooms);
  }
}

function describe({ namespace, id }: AnyConnection): string {
  return `Connection "${show(id)}" of namespace "${show(namespace)}"`;
}

function notTaken(reason: string, code: ConnectionsErrorCode, message: string): NotTaken {
  return { reason, error: new ConnectionsError(code, message) };
}
