import { EventEmitter } from 'node:events';
import { deserialize, serialize } from 'node:v8';
import type { PrimaryChannel } from '../../src/ipc/primary.js';
import type { RelayedWorker } from '../../src/ipc/peers.js';
import type { Workers } from '../../src/ipc/relay-workers.js';

export type Serialization = 'advanced' | 'json';

type Sent = (error: Error | null) => void;

/** The form in which a message arrives. */
const copyOf: Readonly<Record<Serialization, (message: unknown) => unknown>> = {
  advanced: (message) => deserialize(serialize(message)) as unknown,
  json: (message) => JSON.parse(JSON.stringify(message)) as unknown,
};

/** The primary side of `node:cluster`, with workers in the same process. */
export class FakeCluster extends EventEmitter implements Workers {
  readonly workers: Record<string, FakeWorker> = {};

  fork(serialization: Serialization): FakeWorker {
    const worker = new FakeWorker(this, Object.keys(this.workers).length + 1, serialization);
    this.workers[worker.id] = worker;
    return worker;
  }
}

/** Both ends of the channel of one worker. */
export class FakeWorker implements RelayedWorker {
  readonly id: number;
  /** The worker's view of the channel: its `process`. */
  readonly process: FakeProcess;
  /** Messages to the worker are not read, and their callbacks not called. */
  isStuck = false;
  readonly unread: unknown[] = [];
  readonly #copy: (message: unknown) => unknown;

  constructor(cluster: FakeCluster, id: number, serialization: Serialization) {
    this.id = id;
    this.#copy = copyOf[serialization];
    this.process = new FakeProcess((message) => cluster.emit('message', this, message), this.#copy);
  }

  isConnected(): boolean {
    return this.process.connected;
  }

  send(message: unknown, _handle: undefined, _options: undefined, sent: Sent): void {
    const copy = this.#copy(message);
    if (this.isStuck) {
      this.unread.push(copy);
      return;
    }
    setImmediate(() => {
      if (this.process.connected) this.process.emit('message', copy);
      sent(this.process.connected ? null : new Error('The channel is closed'));
    });
  }

  disconnect(): void {
    this.process.connected = false;
    this.process.emit('disconnect');
  }
}

class FakeProcess extends EventEmitter implements PrimaryChannel {
  connected = true;
  readonly #deliver: (message: unknown) => void;
  readonly #copy: (message: unknown) => unknown;

  constructor(deliver: (message: unknown) => void, copy: (message: unknown) => unknown) {
    super();
    this.#deliver = deliver;
    this.#copy = copy;
  }

  send(message: unknown, _handle: undefined, _options: undefined, sent: Sent): void {
    const copy = this.#copy(message);
    setImmediate(() => {
      if (this.connected) this.#deliver(copy);
      sent(this.connected ? null : new Error('The channel is closed'));
    });
  }
}
