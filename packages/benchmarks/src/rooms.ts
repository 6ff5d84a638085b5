/** Which rooms, or topics, a client is in, and which one a message goes to. */
interface RoomPlan {
  readonly roomsOf: (id: number) => readonly string[];
  readonly roomAt: (position: number) => string;
  readonly isIn: (id: number, position: number) => boolean;
}

const MANY_ROOMS = 200;
/** Rooms that are active in a turn: every fourth one. */
const ACTIVE_ROOMS = 50;

/** Each client is in about 20 of 200 rooms, and the sets differ from client to client. */
function isInRoom(id: number, room: number): boolean {
  return (id * 31 + room * 17) % 97 < 10;
}

function activeRoom(position: number): number {
  return (position % ACTIVE_ROOMS) * (MANY_ROOMS / ACTIVE_ROOMS);
}

const PLANS = {
  /** One room with everybody in it. */
  all: { roomsOf: () => ['all'], roomAt: () => 'all', isIn: () => true },
  /** A hundred rooms; with 1,000 clients each has ten of them. */
  tens: {
    roomsOf: (id) => [`room ${id % 100}`],
    roomAt: (position) => `room ${position % 100}`,
    isIn: (id, position) => id % 100 === position % 100,
  },
  /** Two hundred rooms of which fifty are active: a client is in 20 of them, and 5 of these are active. */
  many: {
    roomsOf: (id) =>
      Array.from({ length: MANY_ROOMS }, (_, room) => room)
        .filter((room) => isInRoom(id, room))
        .map((room) => `room ${room}`),
    roomAt: (position) => `room ${activeRoom(position)}`,
    isIn: (id, position) => isInRoom(id, activeRoom(position)),
  },
} as const satisfies Record<string, RoomPlan>;

export type RoomPlanName = keyof typeof PLANS;

export function roomPlan(name: RoomPlanName): RoomPlan {
  return PLANS[name];
}

/** Nothing without a plan. */
export function roomsOf(name: RoomPlanName | undefined, id: number): readonly string[] {
  return name === undefined ? [] : PLANS[name].roomsOf(id);
}

/** Messages to rooms that one turn needs, so that each active room gets as many. */
export const ACTIVE = { all: 1, tens: 100, many: ACTIVE_ROOMS } as const satisfies Record<
  RoomPlanName,
  number
>;
