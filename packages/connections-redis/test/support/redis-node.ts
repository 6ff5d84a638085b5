import { createClient } from 'redis';
import { Connection, ConnectionsPool } from '../../../connections/src/index.js';
import { redisAdapter } from '../../src/index.js';

/** A program: one node of a cluster. Its arguments are the port of Redis and the settings of the pool as JSON. */

/** The orders of the parent. The node answers each with a `Report`. */
export type Order = { readonly join: string } | { readonly report: true };

export interface Report {
  readonly id: string;
  readonly state: string;
  readonly nodes: number;
  /** Names of the events of the pool, in order. */
  readonly events: readonly string[];
  /** The messages that each connection was sent. */
  readonly received: Readonly<Record<string, readonly unknown[]>>;
  /** The code with which each connection was closed. */
  readonly closed: Readonly<Record<string, number | undefined>>;
}

const [port, settings] = process.argv.slice(2);
// Both connections have the name, so that the parent can find them.
const client = createClient({ name: 'node', socket: { host: '127.0.0.1', port: Number(port) } });
client.on('error', () => undefined);
await client.connect();
const pool = new ConnectionsPool({
  adapter: redisAdapter({ client }),
  onDuplicate: 'replace',
  cluster: JSON.parse(settings!) as object,
});
const events: string[] = [];
pool.on('node', (_, change) => events.push(change));
pool.on('degraded', () => events.push('degraded'));
pool.on('recovered', () => events.push('recovered'));
const received: Record<string, unknown[]> = {};
const closed: Record<string, number | undefined> = {};

async function join(id: string): Promise<void> {
  const messages: unknown[] = (received[id] = []);
  const send = (message: unknown): void => void messages.push(message);
  const connection = new Connection(id, 'x', {}, { send, close: (code) => (closed[id] = code) });
  await pool.newConnection(connection);
}

process.on('message', (order: Order) => {
  void (async () => {
    if ('join' in order) await join(order.join);
    const { state, nodeId, nodes } = pool.cluster;
    process.send!({ id: nodeId, state, nodes: nodes.size, events, received, closed } satisfies Report);
  })();
});
