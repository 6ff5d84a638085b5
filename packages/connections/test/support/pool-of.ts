import type { ServerOptions } from 'ws';
import { ConnectionsPool, type ConnectionsPoolOptions } from '../../src/index.js';
import { member, type Member } from './engine.js';
import { Loopback } from './loopback.js';
import { connectInMemory } from './memory-socket.js';

type MemoryMember = ReturnType<typeof connectInMemory>;
/** An array of exactly that length, so that a test can destructure it without a check. */
type Tuple<Item, Length extends number, Items extends Item[] = []> = number extends Length
  ? Item[]
  : Items['length'] extends Length
    ? Items
    : Tuple<Item, Length, [...Items, Item]>;

export interface PoolOfOptions {
  /** The pool, or options for a new one. */
  readonly pool?: ConnectionsPool | ConnectionsPoolOptions;
  /** Ids are '1', '2', '3', … instead of 'a', 'b', 'c', … */
  readonly isNumbered?: boolean;
  readonly server?: ServerOptions;
  /** The compression that each client offers. */
  readonly client?: Parameters<Loopback['pair']>[0];
}

function idsOf(count: number, isNumbered = false): string[] {
  const letter = (index: number): string => (index < 26 ? String.fromCharCode(97 + index) : `m${index}`);
  return Array.from({ length: count }, (_, index) => (isNumbered ? `${index + 1}` : letter(index)));
}

const toPool = (pool: ConnectionsPool | ConnectionsPoolOptions | undefined): ConnectionsPool =>
  pool instanceof ConnectionsPool ? pool : new ConnectionsPool(pool);

/** A pool with that many clients on real sockets, in the namespace 'default', and a function that adds more. */
export async function poolOf<Length extends number>(
  count: Length,
  { pool: poolOrOptions, isNumbered, server, client }: PoolOfOptions = {},
): Promise<{
  readonly pool: ConnectionsPool;
  readonly loopback: Loopback;
  readonly members: Tuple<Member, Length>;
  readonly join: (id: string, namespace?: string) => Promise<Member>;
}> {
  const pool = toPool(poolOrOptions);
  const loopback = await Loopback.start(server);
  const join = (id: string, namespace = 'default'): Promise<Member> =>
    member(pool, loopback, id, { namespace, ...client });
  const members: Member[] = [];
  for (const id of idsOf(count, isNumbered)) members.push(await join(id));
  return { pool, loopback, members: members as Tuple<Member, Length>, join };
}

/** The same with sockets in memory. */
export function poolInMemory<Length extends number>(
  count: Length,
  poolOrOptions?: ConnectionsPool | ConnectionsPoolOptions,
): { readonly pool: ConnectionsPool; readonly members: Tuple<MemoryMember, Length> } {
  const pool = toPool(poolOrOptions);
  const members = idsOf(count).map((id) => connectInMemory(id));
  for (const { connection } of members) void pool.newConnection(connection);
  return { pool, members: members as Tuple<MemoryMember, Length> };
}
