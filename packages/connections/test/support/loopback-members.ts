import type { Connection } from '../../src/index.js';
import { ConnectionsPool } from '../../src/index.js';
import { Loopback, type Pair } from './loopback.js';

export type LoopbackMember = Pair & { readonly connection: Connection };

/** A pool with members '1', '2', … on real sockets. */
export async function loopbackMembers(count: number, pool = new ConnectionsPool()) {
  const loopback = await Loopback.start();
  const join = async (id: string, namespace = 'default'): Promise<LoopbackMember> => {
    const member = await loopback.connect(id, namespace);
    await pool.newConnection(member.connection);
    return member;
  };
  const members: LoopbackMember[] = [];
  for (let n = 1; n <= count; n++) members.push(await join(`${n}`));
  return { loopback, pool, members, join };
}
