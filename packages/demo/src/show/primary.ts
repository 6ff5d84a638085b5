import cluster, { type Worker } from 'node:cluster';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { relayWorkers } from '@soketi/connections/ipc';
import type { Fleet, Show } from './show.js';
import type { FromNode, ToNode } from './state.js';

const PROGRAM = fileURLToPath(new URL('./worker.js', import.meta.url));
const STATE_INTERVAL_MS = 500;
/** A node that has died is not restarted at once: it may die again and again. */
const RETRY_MS = 1_000;
/** Ctrl-C reaches the whole process group, and npm sends it again: within this time, it counts as the same signal. */
const SAME_SIGNAL_MS = 500;

/** The primary of `node:cluster`: starts the nodes, restarts them if they die, and ends them when it has to end. */
export class Primary implements Fleet {
  readonly #show: Show;
  readonly #workers = new Map<number, Worker>();
  #url = '';
  #isStopping = false;

  constructor(show: Show) {
    this.#show = show;
    show.fleet = this;
    cluster.schedulingPolicy = cluster.SCHED_RR;
    cluster.setupPrimary({ exec: PROGRAM, serialization: 'advanced', execArgv: [] });
    relayWorkers();
    cluster.on('exit', (worker) => this.#onExit(worker));
    for (const signal of ['SIGTERM', 'SIGINT'] as const) this.#stopOn(signal);
  }

  get isStopping(): boolean {
    return this.#isStopping;
  }

  get url(): string {
    return this.#url;
  }

  /**
   * Starts the first node before the others, so that only that one reports why it cannot listen.
   *
   * @returns whether all of them accept clients
   */
  async start(nodes: number): Promise<boolean> {
    const start = async (node: number): Promise<boolean> => {
      const isListening = await this.#fork(node);
      if (isListening) this.#show.nodeIs(node, 'ready', this.#workers.get(node)?.process.pid);
      return isListening;
    };
    if (!(await start(1))) return false;
    const others = Array.from({ length: nodes - 1 }, (_, index) => start(index + 2));
    if ((await Promise.all(others)).includes(false)) return false;
    setInterval(() => this.#tellAll(), STATE_INTERVAL_MS).unref();
    return true;
  }

  async restart(node: number, allAtOnce: boolean): Promise<void> {
    const worker = this.#workers.get(node);
    if (worker === undefined || this.#isStopping) return;
    const name = this.#show.nameOf(node);
    const gone = new Promise((resolve) => worker.once('exit', resolve));
    this.#show.nodeIs(node, 'draining', worker.process.pid);
    this.#show.happened(
      allAtOnce ? `${name} closes everybody at once, and ends.` : `${name} gets SIGTERM, and drains.`,
    );
    if (allAtOnce) tell(worker, { show: 'close all at once' });
    else worker.process.kill('SIGTERM');
    await gone;
    this.#show.nodeIs(node, 'gone');
    await this.#startAgain(node);
  }

  async #startAgain(node: number): Promise<void> {
    const name = this.#show.nameOf(node);
    while (!this.#isStopping) {
      this.#show.nodeIs(node, 'starting');
      if (await this.#fork(node)) {
        this.#show.nodeIs(node, 'ready', this.#workers.get(node)?.process.pid);
        this.#show.happened(`${name} is there again, and takes clients.`);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  /** @returns whether it is listening now */
  async #fork(node: number): Promise<boolean> {
    const worker = cluster.fork({ SHOW_NODE: node });
    this.#workers.set(node, worker);
    const listening = new Promise<boolean>((resolve) => {
      worker.on('message', (message: FromNode | { readonly show?: undefined }) => {
        if (message.show === 'listening') {
          this.#url = message.url;
          resolve(true);
        } else this.#hear(node, worker, message);
      });
      worker.once('exit', () => resolve(false));
    });
    return listening;
  }

  #hear(node: number, worker: Worker, message: FromNode | { readonly show?: undefined }): void {
    if (message.show === 'report') this.#show.reported(node, message.report);
    else if (message.show === 'happened') this.#show.happened(`${this.#show.nameOf(node)}: ${message.text}`);
    else if (message.show === 'command') {
      const outcome = this.#show.obey(message.command);
      // The next poll of the page must see the restart, whichever node answers it.
      this.#tellAll();
      tell(worker, { show: 'outcome', id: message.id, outcome });
    }
  }

  /** Restarts a node that has ended without being told to. */
  #onExit(worker: Worker): void {
    for (const [node, current] of this.#workers) {
      if (current !== worker || this.#isStopping) continue;
      if (this.#show.stateOf(node) !== 'ready') return;
      const how = worker.process.signalCode ?? `status ${worker.process.exitCode}`;
      this.#show.happened(`${this.#show.nameOf(node)} has died (${how}), and starts again.`);
      this.#show.nodeIs(node, 'gone');
      setTimeout(() => void this.#startAgain(node), RETRY_MS);
    }
  }

  #tellAll(): void {
    const message: ToNode = { show: 'state', state: this.#show.state };
    for (const worker of this.#workers.values()) tell(worker, message);
  }

  /**
   * Tells the nodes to end, which they do by themselves; this process then has nothing left to do. A second signal
   * kills them.
   */
  #stopOn(signal: NodeJS.Signals): void {
    let firstAtMs: number | undefined;
    process.on(signal, () => {
      const atMs = performance.now();
      if (!this.#isStopping) {
        this.#isStopping = true;
        firstAtMs = atMs;
        this.#show.bots.stop();
        for (const worker of this.#workers.values()) worker.process.kill(signal);
      } else if (firstAtMs === undefined || atMs - firstAtMs > SAME_SIGNAL_MS) {
        for (const worker of this.#workers.values()) worker.process.kill('SIGKILL');
        process.exit(128 + constants.signals[signal]);
      }
    });
  }
}

/** With a callback, a worker that is gone causes no `error` event, which would end the primary. */
function tell(worker: Worker, message: ToNode): void {
  if (worker.isConnected()) worker.process.send(message, () => undefined);
}
