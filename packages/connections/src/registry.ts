import type { AnyConnection } from './connection.js';
import { FanOut } from './fan-out.js';
import type { OutboxContext } from './outbox-owner.js';
import { kOutbox } from './pool-link.js';
import type { Turn } from './turn.js';

/**
 * Who is connected: namespace -> id -> connection. A namespace exists exactly as long as it has connections.
 *
 * Maps and no objects, so that names such as `__proto__` are ordinary.
 */
export class Registry<C extends AnyConnection> {
  readonly connections = new Map<string, Map<C['id'], C>>();
  /** For each namespace the same members, as those that its broadcasts go to. */
  readonly #fanOuts = new Map<string, FanOut>();
  readonly #turn: Turn;
  readonly #context: OutboxContext;
  #size = 0;

  constructor(turn: Turn, context: OutboxContext) {
    this.#turn = turn;
    this.#context = context;
  }

  /** Connections in all namespaces. */
  get size(): number {
    return this.#size;
  }

  find(namespace: string, id: C['id']): C | undefined {
    return this.connections.get(namespace)?.get(id);
  }

  has(connection: C): boolean {
    return this.find(connection.namespace, connection.id) === connection;
  }

  fanOutOf(namespace: string): FanOut | undefined {
    return this.#fanOuts.get(namespace);
  }

  all(): C[] {
    return [...this.connections.values()].flatMap((members) => [...members.values()]);
  }

  /** Adds the connection. There is no instant in which its id is missing: who had it is replaced and returned. */
  add(connection: C): C | undefined {
    const { namespace, id } = connection;
    let members = this.connections.get(namespace);
    let fanOut = this.#fanOuts.get(namespace);
    if (members === undefined || fanOut === undefined) {
      this.connections.set(namespace, (members = new Map<C['id'], C>()));
      this.#fanOuts.set(namespace, (fanOut = new FanOut(this.#turn, this.#context)));
    }
    const replaced = members.get(id);
    members.set(id, connection);
    connection[kOutbox].join(fanOut, this.#context);
    if (replaced === undefined) this.#size++;
    else replaced[kOutbox].leave();
    return replaced;
  }

  /** Removes this very connection, not whatever has its id now. `false`: it was not there. */
  remove(connection: C): boolean {
    const { namespace, id } = connection;
    if (!this.has(connection)) return false;
    // First, as what still waits for it may run user code, which may remove it too.
    connection[kOutbox].leave();
    const members = this.connections.get(namespace);
    if (members?.get(id) !== connection) return false;
    members.delete(id);
    this.#size--;
    if (members.size > 0) return true;
    this.connections.delete(namespace);
    this.#fanOuts.delete(namespace);
    return true;
  }
}
