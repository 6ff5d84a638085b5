import type { ServerOptions } from 'ws';
import { ConnectionsPool, type ConnectionsPoolOptions } from '../../src/index.js';
import { member, type Member } from './engine.js';
import { Loopback } from './loopback.js';
import { connectInMemory } from './memory-socket.js';

type MemoryMember = ReturnType<typeof connectInMemory>;
/** An array of exactly that length, so that a test can take it apart without a check. */
type Tuple<Item, Length extends number, Items extends Item[] = []> = number extends Length
  ? Item[]
  : Items['length'] extends Length
    ? Items
    : Tuple<Item, Length, [...Items, Item]>;

export interface PoolOfOptions {
  readonly pool?: ConnectionsPoolOptions;
  readonly server?: ServerOptions;
  /** What each client offers. */
  readonly client?: Parameters<Loopback['pair']>[0];
}

/** Ids of the members: 'a', 'b', 'c', … */
function idsOf(count: number): string[] {
  return Array.from({ length: count }, (_, index) =>
    index < 26 ? String.fromCharCode(97 + index) : `m${index}`,
  );
}

/** A pool with that many clients on real sockets, in the namespace 'default'. */
export async function poolOf<Length extends number>(
  count: Length,
  { pool: options, server, client }: PoolOfOptions = {},
): Promise<{
  readonly pool: ConnectionsPool;
  readonly loopback: Loopback;
  readonly members: Tuple<Member, Length>;
}> {
  const pool = new ConnectionsPool(options);
  const loopback = await Loopback.start(server);
  const members: Member[] = [];
  for (const id of idsOf(count)) members.push(await member(pool, loopback, id, client));
  return { pool, loopback, members: members as Tuple<Member, Length> };
}

/** The same with sockets in memory. */
export function poolInMemory<Length extends number>(
  count: Length,
  options?: ConnectionsPoolOptions,
): { readonly pool: ConnectionsPool; readonly members: Tuple<MemoryMember, Length> } {
  const pool = new ConnectionsPool(options);
  const members = idsOf(count).map((id) => connectInMemory(id));
  for (const { connection } of members) void pool.newConnection(connection);
  return { pool, members: members as Tuple<MemoryMember, Length> };
}
