import type { Audience } from './audience.js';
import { coreOf, type AnyConnection } from './connection.js';
import type { SendingContext } from './sending/bounded-socket.js';
import type { Delivery } from './sending/delivery.js';
import type { EndOfTurn } from './sending/end-of-turn.js';
import type { Envelope } from './sending/envelope.js';
import { FanOut } from './sending/fan-out.js';
import type { Outbox } from './sending/outbox.js';

const NO_OUTBOXES: ReadonlySet<Outbox> = new Set<Outbox>();

let outboxesOf: (room: Room<AnyConnection>) => readonly Outbox[];
let isKnown: (room: Room<AnyConnection>) => boolean;
let setKnown: (room: Room<AnyConnection>) => void;

/** Some of the connections of a namespace, by id. Users get it: what they must not touch is private. */
export class Room<C extends AnyConnection> extends Map<C['id'], C> {
  #isKnown = false;
  #outboxes: readonly Outbox[] | undefined;

  static {
    outboxesOf = (room) => room.#outboxesNow;
    isKnown = (room) => room.#isKnown;
    setKnown = (room) => {
      room.#isKnown = true;
    };
  }

  /** Those of its members. Kept until a member joins or leaves: most calls are to a room that is as it was. */
  get #outboxesNow(): readonly Outbox[] {
    return (this.#outboxes ??= Array.from(this.values(), (connection) => coreOf(connection).outbox));
  }

  override set(id: C['id'], connection: C): this {
    this.#outboxes = undefined;
    return super.set(id, connection);
  }

  override delete(id: C['id']): boolean {
    this.#outboxes = undefined;
    return super.delete(id);
  }
}

/**
 * The connections of one namespace by id and by room, and how broadcasts reach them.
 *
 * The two differ while a connection is closing: it keeps its id until its socket has closed, but gets nothing any more.
 */
export class Namespace<C extends AnyConnection> {
  /** By id. */
  readonly members = new Map<C['id'], C>();
  /** A room exists exactly as long as it has members. */
  readonly rooms = new Map<string, Room<C>>();
  readonly #fanOut: FanOut;
  readonly #context: SendingContext;

  constructor(endOfTurn: EndOfTurn, context: SendingContext) {
    this.#context = context;
    this.#fanOut = new FanOut(endOfTurn, context);
  }

  /** Adds the connection under its id. */
  join(connection: C): void {
    this.members.set(connection.id, connection);
    const core = coreOf(connection);
    core.outbox.join(this.#fanOut, this.#context, core.isOverridden);
  }

  enter(name: string, connection: C): void {
    let room = this.rooms.get(name);
    if (room === undefined) this.rooms.set(name, (room = new Room()));
    room.set(connection.id, connection);
  }

  /** Removes exactly this connection, not whatever has its id now. @returns the room, if it has become empty */
  exit(name: string, connection: C): Room<C> | undefined {
    const room = this.rooms.get(name);
    if (room?.get(connection.id) !== connection) return undefined;
    room.delete(connection.id);
    if (room.size > 0) return undefined;
    this.rooms.delete(name);
    return room;
  }

  broadcast(envelope: Envelope, audience: Audience<C['id']>): Delivery {
    const { rooms, conflate } = audience;
    const excepted = this.#exceptedOutboxes(audience);
    if (rooms === undefined) return this.#fanOut.broadcast(envelope, excepted, conflate);
    return this.#fanOut.broadcastTo(this.#outboxesIn(rooms, excepted), envelope, conflate);
  }

  #exceptedOutboxes(audience: Audience<C['id']>): ReadonlySet<Outbox> {
    if (audience.exceptions.length === 0 && audience.exceptRooms.length === 0) return NO_OUTBOXES;
    const outboxes = new Set<Outbox>();
    for (const id of audience.exceptions) {
      const connection = this.members.get(id);
      if (connection !== undefined) outboxes.add(coreOf(connection).outbox);
    }
    for (const room of audience.exceptRooms)
      for (const outbox of this.#outboxesInRoom(room)) outboxes.add(outbox);
    return outboxes;
  }

  /** The connections that an audience means, each once. */
  membersOf(audience: Audience<C['id']>): Set<C> {
    const { rooms } = audience;
    const members = new Set(rooms === undefined ? this.members.values() : this.#membersIn(rooms));
    for (const connection of this.#excepted(audience)) members.delete(connection);
    return members;
  }

  *#membersIn(rooms: readonly string[]): Generator<C> {
    for (const room of rooms) {
      const members = this.rooms.get(room);
      if (members !== undefined) yield* members.values();
    }
  }

  /** Members of several of the rooms appear several times. */
  #outboxesIn(rooms: readonly string[], excepted: ReadonlySet<Outbox>): readonly Outbox[] {
    const [only] = rooms;
    const all =
      only !== undefined && rooms.length === 1
        ? this.#outboxesInRoom(only)
        : rooms.flatMap((room) => this.#outboxesInRoom(room));
    return excepted.size === 0 ? all : all.filter((outbox) => !excepted.has(outbox));
  }

  #outboxesInRoom(name: string): readonly Outbox[] {
    const room = this.rooms.get(name);
    return room === undefined ? [] : outboxesOf(room);
  }

  *#excepted({ exceptions, exceptRooms }: Audience<C['id']>): Generator<C> {
    for (const id of exceptions) {
      const connection = this.members.get(id);
      if (connection !== undefined) yield connection;
    }
    yield* this.#membersIn(exceptRooms);
  }
}

export {
  /** Whether somebody has heard that a connection joined the room, and is to hear when it is empty. */
  isKnown,
  setKnown,
};
