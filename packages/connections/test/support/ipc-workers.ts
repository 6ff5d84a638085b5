import cluster from 'node:cluster';
import { createHash } from 'node:crypto';
import { ipcAdapter, relayWorkers } from '../../src/ipc.js';

/*
 * A program: a primary that relays, and its workers. It passes their reports to its parent. Its arguments are the
 * serialization, the number of workers and maxUnsentBytes.
 */

/** An order of the parent to a worker. */
export interface Order {
  readonly worker: number;
  readonly verb: 'publish' | 'disconnect' | 'close' | 'send what cannot be cloned' | 'report';
  /** For `publish`: one message of each length. */
  readonly lengths?: readonly number[];
}

/** A report of a worker. */
export interface Told {
  readonly worker: number;
  readonly fact: 'up' | 'received' | 'sent' | 'gone' | 'report';
  readonly pid?: number;
  readonly length?: number;
  readonly isIntact?: boolean;
  readonly dropped?: number;
}

const digest = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

/** Bytes of all values, followed by their digest. */
function messageOf(length: number): Buffer {
  const bytes = Buffer.from(Uint8Array.from({ length }, (_, index) => index));
  return Buffer.concat([bytes, digest(bytes)]);
}

function runPrimary(serialization: 'advanced' | 'json', workers: number, maxUnsentBytes: number): void {
  cluster.setupPrimary({ serialization });
  const relay = relayWorkers({ maxUnsentBytes });
  cluster.on('message', (worker, message: { told?: object }) => {
    if (message.told !== undefined) process.send!({ worker: worker.id, ...message.told });
  });
  cluster.on('exit', ({ id }) => process.send!({ worker: id, fact: 'gone' }));
  process.on('message', (order: Order) => {
    if (order.verb === 'report') process.send!({ worker: 0, fact: 'report', dropped: relay.dropped });
    else cluster.workers![order.worker]!.send(order);
  });
  for (let worker = 0; worker < workers; worker++) cluster.fork();
}

function runWorker(): void {
  const tell = (told: Omit<Told, 'worker'>): void => {
    process.send!({ told });
  };
  const adapter = ipcAdapter();
  adapter.start({
    up: () => void adapter.subscribe(['c']).then(() => tell({ fact: 'up', pid: process.pid })),
    down: () => undefined,
    warn: () => undefined,
    receive: (_, message) => {
      const bytes = message.subarray(0, -32);
      tell({ fact: 'received', length: bytes.length, isIntact: message.subarray(-32).equals(digest(bytes)) });
    },
  });
  process.on('message', ({ verb, lengths = [] }: Partial<Order>) => {
    if (verb === 'disconnect') {
      process.disconnect();
      // As the next heartbeat of a pool does.
      adapter.publish('c', messageOf(0)).catch(() => undefined);
    } else if (verb === 'close') void adapter.close().then(() => process.disconnect());
    else if (verb === 'publish') {
      const sent = lengths.map((length) => adapter.publish('c', messageOf(length)));
      void Promise.all(sent).then(() => tell({ fact: 'sent' }));
    } else if (verb === 'send what cannot be cloned') {
      try {
        process.send!({ 'soketi:relay': 'message', prefix: 'soketi', channel: 'c', data: () => undefined });
      } catch {
        // With 'advanced', this throws; JSON omits the function.
      }
      tell({ fact: 'sent' });
    }
  });
}

const [serialization, workers, maxUnsentBytes] = process.argv.slice(2);
if (cluster.isPrimary)
  runPrimary(serialization as 'advanced' | 'json', Number(workers), Number(maxUnsentBytes));
else runWorker();
