import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { refuseUpgrade } from './refusal.js';

/** What listens to `upgrade`. */
type UpgradeListener = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/** Something that answers upgrades: a WebSocket or a refusal. */
export interface UpgradeTaker {
  /** @returns whether the request is its own; it answers it then */
  take(request: IncomingMessage, socket: Duplex, head: Buffer): boolean;
}

const gates = new WeakMap<Server, UpgradeGate>();

/**
 * All answers of the library to the upgrades of one server, in one listener: an upgrade must have one answer.
 *
 * While it is open, each upgrade goes to the taker that claims it, or to the server's other listeners. While it is closed,
 * for a shutdown, only the takers answer, and all other upgrades get 503.
 */
export class UpgradeGate {
  readonly #server: Server;
  readonly #takers = new Set<UpgradeTaker>();
  /** The shutdowns that have closed it, with their `Retry-After`. */
  readonly #closings = new Map<object, number>();
  /** The other listeners, while it is closed. */
  #others: UpgradeListener[] = [];

  private constructor(server: Server) {
    this.#server = server;
  }

  static of(server: Server): UpgradeGate {
    let gate = gates.get(server);
    if (gate === undefined) gates.set(server, (gate = new UpgradeGate(server)));
    return gate;
  }

  /** A shutdown has begun: nobody is let in. */
  get isClosed(): boolean {
    return this.#closings.size > 0;
  }

  /** `Retry-After` of refusals in seconds, while it is closed. */
  get retryAfter(): number | undefined {
    return [...this.#closings.values()].at(-1);
  }

  add(taker: UpgradeTaker): void {
    this.#takers.add(taker);
    this.#listen();
  }

  remove(taker: UpgradeTaker): void {
    this.#takers.delete(taker);
    this.#listen();
  }

  /** @returns a function that opens it again */
  close(retryAfter: number): () => void {
    const closing = {};
    if (this.#closings.size === 0) {
      const listeners = this.#server.rawListeners('upgrade') as UpgradeListener[];
      this.#others = listeners.filter((listener) => listener !== this.#onUpgrade);
      this.#server.removeAllListeners('upgrade');
    }
    this.#closings.set(closing, retryAfter);
    this.#listen();
    return () => {
      this.#closings.delete(closing);
      if (this.#closings.size > 0) return;
      for (const listener of this.#others.splice(0)) this.#server.on('upgrade', listener);
      this.#listen();
    };
  }

  /** Listens only while it has something to answer: without a listener, Node takes an upgrade as a plain request. */
  #listen(): void {
    this.#server.off('upgrade', this.#onUpgrade);
    if (this.#takers.size > 0 || this.#closings.size > 0) this.#server.on('upgrade', this.#onUpgrade);
  }

  readonly #onUpgrade: UpgradeListener = (request, socket, head) => {
    for (const taker of this.#takers) if (taker.take(request, socket, head)) return;
    const { retryAfter } = this;
    if (retryAfter !== undefined) refuseUpgrade(socket, 503, { 'Retry-After': retryAfter });
    else if (this.#server.listenerCount('upgrade') === 1) refuseUpgrade(socket, 404);
  };
}
