import { Connection, type ConnectionsPool } from '@soketi/connections';
import { answer, nowMs } from '@soketi/load/harness';
import { IdleSocket } from '../idle-socket.js';
import type { NodeSettings } from './calls.js';
import { clusteredPool } from './candidates/soketi.js';

/** The process of a node whose namespaces all get their first members in one turn. */
let pool: ConnectionsPool;

const calls = {
  async start(settings: NodeSettings): Promise<void> {
    pool = await clusteredPool(settings);
  },
  /** @returns how long it took until all of that many have joined, in ms */
  async join(namespaces: number): Promise<number> {
    const startedAtMs = nowMs();
    const joins = Array.from({ length: namespaces }, (_, index) =>
      pool.newConnection(new Connection('member', `namespace ${index}`, new IdleSocket())),
    );
    await Promise.all(joins);
    return nowMs() - startedAtMs;
  },
};
export type JoinerCalls = typeof calls;

answer(calls);
