import { Connection, ConnectionsPool, type ClusterAdapter } from '@soketi/connections';
import { roomOf, type Chat } from './chat.js';
import type { ServerMessage, UserView } from './protocol.js';

/** Changes within this time are sent together, in ms: during a deploy hundreds of users come and go in a second. */
const GATHER_MS = 50;
/** More names than a page can show. */
const MAX_NAMES = 200;
const ROOM_PREFIX = roomOf('');

/** A room of a namespace, as one string. */
type Place = string;
/** Name and tabs. Not an object: users choose their names, `__proto__` among them. */
type Users = readonly (readonly [name: string, tabs: number])[];

/** The messages that nodes exchange. */
type NodeMessage =
  | { readonly from: string; readonly say: 'hello'; readonly to?: string }
  | { readonly from: string; readonly say: 'here'; readonly rooms: readonly (readonly [Place, Users])[] };

export interface PresenceOptions {
  /** An adapter with its own prefix. @default none: there are no other nodes */
  readonly adapter?: ClusterAdapter | undefined;
  readonly nodeName?: string | undefined;
}

/**
 * Who is in which room, on all nodes: tells the members of a room whenever that changes.
 *
 * A pool knows the connections of its own process. So the nodes inform each other through a second pool, in which each
 * of them is one connection. They always send the whole list of a room, so the next message repairs a lost one.
 */
export class Presence {
  readonly #chat: Chat;
  readonly #nodes: ConnectionsPool<string>;
  readonly #self: string;
  /** By id of the node. */
  readonly #elsewhere = new Map<string, Map<Place, Users>>();
  /** Rooms whose members must be told; if the change happened here, the other nodes are told too. */
  readonly #changed = new Map<Place, { isChangedHere: boolean }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(chat: Chat, { adapter, nodeName = 'node 1' }: PresenceOptions = {}) {
    this.#chat = chat;
    this.#nodes = new ConnectionsPool<string>({ adapter, cluster: { nodeName } });
    this.#self = this.#nodes.cluster.nodeId;
    chat.on('join', ({ namespace }, room) => this.#onRoom(namespace, room));
    chat.on('leave', ({ namespace }, room) => this.#onRoom(namespace, room));
    this.#nodes.on('node', ({ id }, change) => {
      if (change !== 'joined') this.#forget(id);
      // One that stood still for a while does not know that we have forgotten who is there.
      else this.#say({ from: this.#self, say: 'hello', to: id });
    });
    this.#nodes.on('recovered', () => this.#introduce());
    this.#nodes.on('error', (error) => console.warn(`presence: ${error.message}`));
    const inbox = { send: (message: string) => this.#hear(message), close: () => undefined };
    const self = new Connection<string, string>(this.#self, 'nodes', {}, inbox);
    // Resolves when messages of the other nodes arrive.
    void this.#nodes.newConnection(self).then(() => this.#introduce());
  }

  /** Makes the other nodes forget who was here. */
  leave(): Promise<void> {
    clearTimeout(this.#timer);
    return this.#nodes.cluster.leave();
  }

  #onRoom(namespace: string, room: string): void {
    if (!room.startsWith(ROOM_PREFIX)) return;
    this.#change(JSON.stringify([namespace, room.slice(ROOM_PREFIX.length)]), true);
  }

  #change(place: Place, isChangedHere: boolean): void {
    const change = this.#changed.get(place);
    this.#changed.set(place, { isChangedHere: isChangedHere || change?.isChangedHere === true });
    this.#timer ??= setTimeout(() => this.#tell(), GATHER_MS).unref();
  }

  #tell(): void {
    this.#timer = undefined;
    const changed = [...this.#changed];
    this.#changed.clear();
    const rooms = changed
      .filter(([, { isChangedHere }]) => isChangedHere)
      .map(([place]) => [place, this.#here(place)] as const);
    if (rooms.length > 0) this.#say({ from: this.#self, say: 'here', rooms });
    for (const [place] of changed) this.#tellMembers(place);
  }

  /** The members in this process: each node tells its own. */
  #tellMembers(place: Place): void {
    const [namespace, room] = JSON.parse(place) as [string, string];
    const users = this.#users(place);
    const message: ServerMessage = {
      type: 'members',
      room,
      users: users.slice(0, MAX_NAMES),
      more: Math.max(0, users.length - MAX_NAMES),
    };
    void this.#chat.broadcastJsonMessage(namespace, message, {
      rooms: roomOf(room),
      local: true,
      conflate: JSON.stringify(['members', room]),
    });
  }

  #here(place: Place): Users {
    const [namespace, room] = JSON.parse(place) as [string, string];
    const tabs = new Map<string, number>();
    for (const { data } of this.#chat.room(namespace, roomOf(room)).values())
      tabs.set(data.name, (tabs.get(data.name) ?? 0) + 1);
    return [...tabs];
  }

  /** On all nodes together, by name. */
  #users(place: Place): UserView[] {
    const tabs = new Map(this.#here(place));
    for (const rooms of this.#elsewhere.values())
      for (const [name, count] of rooms.get(place) ?? []) tabs.set(name, (tabs.get(name) ?? 0) + count);
    return [...tabs]
      .map(([name, count]) => ({ name, tabs: count }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Tells the other nodes who is here, and asks them who is there. */
  #introduce(): void {
    this.#say({ from: this.#self, say: 'hello' });
    this.#sayAll();
  }

  #sayAll(): void {
    const rooms: (readonly [Place, Users])[] = [];
    for (const namespace of this.#chat.connections.keys())
      for (const room of this.#chat.rooms(namespace).keys()) {
        if (!room.startsWith(ROOM_PREFIX)) continue;
        const place = JSON.stringify([namespace, room.slice(ROOM_PREFIX.length)]);
        rooms.push([place, this.#here(place)]);
      }
    if (rooms.length > 0) this.#say({ from: this.#self, say: 'here', rooms });
  }

  #say(message: NodeMessage): void {
    void this.#nodes.broadcastJsonMessage('nodes', message, [this.#self]);
  }

  /** A message of another node, not of a client, so its form is trusted. */
  #hear(text: string): void {
    const message = JSON.parse(text) as NodeMessage;
    if (message.say === 'hello') {
      if (message.to === undefined || message.to === this.#self) this.#sayAll();
      return;
    }
    const known = this.#elsewhere.get(message.from) ?? new Map<Place, Users>();
    this.#elsewhere.set(message.from, known);
    for (const [place, users] of message.rooms) {
      if (users.length > 0) known.set(place, users);
      else known.delete(place);
      this.#change(place, false);
    }
  }

  #forget(node: string): void {
    const rooms = this.#elsewhere.get(node);
    this.#elsewhere.delete(node);
    for (const place of rooms?.keys() ?? []) this.#change(place, false);
  }
}
