import cluster from 'node:cluster';
import { createServer } from 'node:http';
import { Connection, ConnectionsPool, gracefulShutdown } from '../../src/index.js';
import { ipcAdapter, relayWorkers } from '../../src/ipc.js';

/*
 * A program: a primary that relays, and its workers, which drain on SIGTERM. It passes their reports to its parent. Its
 * arguments are the number of workers, the connections of each, and the rate. Times are of the clock that all processes
 * share.
 */

/** A report of a worker. */
export type DrainTold =
  | { readonly fact: 'up'; readonly pid: number }
  | {
      readonly fact: 'drained';
      readonly closed: number;
      readonly closesMs: readonly number[];
      /** When it first knew that all workers drain. */
      readonly knownAtMs: number;
    }
  | { readonly fact: 'gone'; readonly status: number | null };

const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;

function runPrimary(workers: number): void {
  relayWorkers();
  const tell = (told: DrainTold): void => void process.send!(told);
  cluster.on('message', (_, message: { told?: DrainTold }) => {
    if (message.told !== undefined) tell(message.told);
  });
  cluster.on('exit', (_, status: number | null) => tell({ fact: 'gone', status }));
  for (let worker = 0; worker < workers; worker++) cluster.fork();
  process.on('disconnect', () => process.exit());
}

function runWorker(workers: number, connections: number, maxPerSecond: number): void {
  const tell = (told: DrainTold): void => void process.send!({ told });
  const pool = new ConnectionsPool({ adapter: ipcAdapter() });
  const closesMs: number[] = [];
  let knownAtMs = Infinity;
  for (let id = 0; id < connections; id++) {
    const close = (code?: number): void => {
      closesMs.push(nowMs());
      connection.handleClose(code ?? 1005, '');
    };
    const connection = new Connection(`${process.pid}:${id}`, 'x', {}, { send: () => true, close });
    void pool.newConnection(connection);
  }
  const others = () => [...pool.cluster.nodes.values()].filter(({ id }) => id !== pool.cluster.nodeId);
  const onProgress = (): void => {
    if (knownAtMs === Infinity && others().filter(({ drain }) => drain).length === workers - 1)
      knownAtMs = nowMs();
  };
  const watch = setInterval(() => {
    if (others().filter((node) => node.connections === connections).length < workers - 1) return;
    clearInterval(watch);
    tell({ fact: 'up', pid: process.pid });
  }, 20);
  pool.on('drain', ({ closed }) => tell({ fact: 'drained', closed, closesMs, knownAtMs }));
  const server = createServer().listen(0, '127.0.0.1');
  gracefulShutdown({ server, pool, drain: { maxPerSecond, onProgress }, signals: ['SIGTERM'] });
}

const [workers, connections, maxPerSecond] = process.argv.slice(2).map(Number) as [number, number, number];
if (cluster.isPrimary) runPrimary(workers);
else runWorker(workers, connections, maxPerSecond);
