import type { AudienceArgument, BroadcastOptions } from '../../src/index.js';
import type { Random } from './random.js';

/** The rooms of the models; one of them stays empty. */
export const ROOMS = ['red', 'green', 'blue', '', '__proto__'] as const;

/** The facts that decide whether a member is in an audience. */
export interface RoomMember {
  readonly id: string;
  readonly rooms: ReadonlySet<string>;
}

export interface AnyAudience {
  readonly given: AudienceArgument<string> | undefined;
  /** Whether the member gets the message. */
  has(member: RoomMember): boolean;
}

/** An audience in any of its forms: nothing, ids to leave out, or options with rooms. */
export function anyAudience(random: Random, ids: readonly string[]): AnyAudience {
  const some = <T>(items: readonly T[], chance: number): T[] => items.filter(() => random.chance(chance));
  const exceptions = random.chance(0.4) ? [...some(ids, 0.3), 'nobody'] : [];
  if (random.chance(0.45))
    return { given: inSomeForm(random, exceptions), has: ({ id }) => !exceptions.includes(id) };

  const rooms = random.chance(0.8) ? some([...ROOMS, 'empty'], 0.4) : undefined;
  const exceptRooms = random.chance(0.25) ? some(ROOMS, 0.3) : [];
  const options: BroadcastOptions<string> = {
    ...(rooms !== undefined && { rooms: inSomeForm(random, rooms) }),
    ...(exceptRooms.length > 0 && { exceptRooms: inSomeForm(random, exceptRooms) }),
    ...(exceptions.length > 0 && { exceptions }),
  };
  return {
    given: options,
    has: (member) =>
      (rooms === undefined || rooms.some((room) => member.rooms.has(room))) &&
      !exceptRooms.some((room) => member.rooms.has(room)) &&
      !exceptions.includes(member.id),
  };
}

/** Some of the rooms: those that a member joins at the beginning. */
export function someRooms(random: Random): string[] {
  return ROOMS.filter(() => random.chance(0.4));
}

function inSomeForm(random: Random, names: readonly string[]): Iterable<string> & object {
  return random.pick([() => names, () => new Set(names), () => names.values()])();
}
