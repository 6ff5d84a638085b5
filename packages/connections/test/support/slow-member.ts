import type { ConnectionsPool } from '../../src/index.js';
import { connectInMemory } from './memory-socket.js';

/** Adds a slow reader: more waits in its socket than the pool allows. */
export function slowMember(pool: ConnectionsPool, id = 'slow') {
  const member = connectInMemory(id);
  void pool.newConnection(member.connection);
  member.socket.bufferedAmount = 1_000;
  return member;
}
