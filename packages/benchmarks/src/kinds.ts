import type { Server } from './candidates/server.js';
import type { Texts } from './messages.js';
import { roomPlan, type RoomPlanName } from './rooms.js';
import type { Reaction } from './settings.js';

/** A kind of message: how it is sent, by whom, and which clients must receive it. A turn is a list of them. */
interface Kind {
  /** `client`: the first message of a turn comes from the first client, the second one from the second. */
  readonly from: 'server' | 'client' | 'every client';
  /** What the server does with it if it comes from clients. */
  readonly reaction?: Reaction;
  /** Rooms that the clients are in. */
  readonly rooms?: RoomPlanName;
  /** The text names the client that it is addressed to. */
  readonly isAddressed?: boolean;
  /** Whether a client receives it; by default all do. */
  readonly reaches?: (id: number, position: number, connections: number) => boolean;
  /** Makes the call of the server. */
  readonly prepare?: (server: Server, texts: Texts, position: number) => () => void;
}

export const KINDS = {
  broadcast: {
    from: 'server',
    prepare(server, texts, position) {
      const text = texts.at(position);
      return () => server.broadcast(text);
    },
  },
  private: {
    from: 'server',
    isAddressed: true,
    prepare(server, texts, position) {
      const each = Array.from({ length: server.connected() }, (_, id) => texts.at(position, id));
      return () => each.forEach((text, id) => server.sendTo?.(id, text));
    },
  },
  'all but 1': allBut(1),
  'all but 100': allBut(100),
  'to the room of all': toRoom('all'),
  'to a room of ten': toRoom('tens'),
  'to one of many rooms': toRoom('many'),
  /** Clients broadcast. */
  relayed: { from: 'client', reaction: 'broadcast' },
  echo: { from: 'every client', reaction: 'echo', isAddressed: true },
  inbound: { from: 'every client', reaction: 'count', reaches: () => false },
} as const satisfies Record<string, Kind>;

export type KindName = keyof typeof KINDS;

export function kindOf(name: KindName): Kind {
  return KINDS[name];
}

/** Not all clients receive the same. */
export function isPersonal({ isAddressed, reaches }: Kind): boolean {
  return isAddressed ?? reaches !== undefined;
}

/** Messages of that kind that one turn delivers: to clients, or by all of them to the server. */
export function deliveries(name: KindName, connections: number, position = 0): number {
  const { reaches = () => true, reaction } = kindOf(name);
  if (reaction === 'count') return connections;
  return Array.from({ length: connections }, (_, id) => reaches(id, position, connections)).filter(Boolean)
    .length;
}

/** A message to one of the rooms of a plan. */
function toRoom(rooms: RoomPlanName): Kind {
  const { isIn, roomAt } = roomPlan(rooms);
  return {
    from: 'server',
    rooms,
    ...(rooms !== 'all' && { reaches: isIn }),
    prepare(server, texts, position) {
      const [room, text] = [roomAt(position), texts.at(position)];
      return () => server.broadcastTo?.(room, text);
    },
  };
}

/** A broadcast that leaves some clients out: a window of ids that moves on with each message. */
function allBut(count: number): Kind {
  return {
    from: 'server',
    reaches: (id, position, connections) =>
      (id + connections - ((position * count) % connections)) % connections >= count,
    prepare(server, texts, position) {
      const connections = server.connected();
      const text = texts.at(position);
      const ids = Array.from({ length: count }, (_, index) => (position * count + index) % connections);
      return () => server.broadcastExcept?.(text, ids);
    },
  };
}
