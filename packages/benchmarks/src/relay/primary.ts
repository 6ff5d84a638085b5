import { setupPrimary as setupSocketIo } from '@socket.io/cluster-adapter';
import { relayWorkers } from '@soketi/connections/ipc';
import { answer, Caller } from '@soketi/load/harness';
import { setupPrimaryCluster as setupCrossws } from 'crossws/sync';
import { execFileSync } from 'node:child_process';
import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { PrimaryCalls, RelayCandidateName } from './calls.js';

/** The primary of `node:cluster` of one candidate: `node primary.js CANDIDATE`. It relays between its workers. */
const candidate = process.argv[2] as RelayCandidateName;
const workers: Caller<Record<string, (...args: never[]) => unknown>>[] = [];

/** What each candidate wants the primary to do. */
const SETUPS: Record<RelayCandidateName, () => unknown> = {
  soketi: relayWorkers,
  'socket.io': setupSocketIo,
  crossws: setupCrossws,
  'json-loop': () =>
    cluster.on('message', (from, message: { readonly relayed?: string }) => {
      if (message.relayed === undefined) return;
      for (const worker of Object.values(cluster.workers ?? {})) {
        if (worker !== from) worker?.send(message);
      }
    }),
};

function pin({ process: { pid } }: Worker, core: number | undefined): void {
  if (core !== undefined) execFileSync('taskset', ['-cp', `${core}`, `${pid}`], { stdio: 'ignore' });
}

// As this library and Socket.IO recommend it: bytes stay bytes.
cluster.setupPrimary({ exec: fileURLToPath(new URL('node.js', import.meta.url)), serialization: 'advanced' });
await SETUPS[candidate]();

answer({
  async fork(core) {
    const worker = cluster.fork();
    await once(worker, 'message');
    pin(worker, core);
    const caller = new Caller<Record<string, (...args: never[]) => unknown>>(worker, `worker ${worker.id}`);
    worker.on('exit', (code, signal) => caller.fail(`ended with ${signal || code}`));
    workers.push(caller);
  },
  async call(worker, name, args) {
    return workers[worker]?.call(name, ...(args as never[]));
  },
} satisfies PrimaryCalls);
