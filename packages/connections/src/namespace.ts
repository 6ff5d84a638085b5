import { coreOf, type AnyConnection } from './connection.js';
import type { EndOfTurn } from './sending/end-of-turn.js';
import { FanOut } from './sending/fan-out.js';
import type { SendingContext } from './sending/bounded-socket.js';

/**
 * The connections of one namespace by id, and how broadcasts reach them.
 *
 * The two differ while a connection is closing: it keeps its id until its socket has closed, but gets nothing any more.
 */
export class Namespace<C extends AnyConnection> extends Map<C['id'], C> {
  readonly fanOut: FanOut;
  readonly #context: SendingContext;

  constructor(endOfTurn: EndOfTurn, context: SendingContext) {
    super();
    this.#context = context;
    this.fanOut = new FanOut(endOfTurn, context);
  }

  /** Adds the connection under its id. */
  join(connection: C): void {
    this.set(connection.id, connection);
    const core = coreOf(connection);
    core.outbox.join(this.fanOut, this.#context, core.isOverridden);
  }

  /** The outboxes of those ids. */
  outboxesOf(ids: Iterable<C['id']>): Set<ReturnType<typeof coreOf>['outbox']> {
    const outboxes = new Set<ReturnType<typeof coreOf>['outbox']>();
    for (const id of ids) {
      const connection = this.get(id);
      if (connection !== undefined) outboxes.add(coreOf(connection).outbox);
    }
    return outboxes;
  }
}

/**
 * Who is connected: namespace -> id -> connection. A namespace exists exactly as long as it has connections.
 *
 * Maps and not objects, so that names such as `__proto__` are ordinary.
 */
export class Registry<C extends AnyConnection> {
  readonly namespaces = new Map<string, Namespace<C>>();
  readonly #endOfTurn: EndOfTurn;
  readonly #context: SendingContext;
  #size = 0;

  constructor(endOfTurn: EndOfTurn, context: SendingContext) {
    this.#endOfTurn = endOfTurn;
    this.#context = context;
  }

  /** Connections in all namespaces. */
  get size(): number {
    return this.#size;
  }

  find(namespace: string, id: C['id']): C | undefined {
    return this.namespaces.get(namespace)?.get(id);
  }

  has(connection: C): boolean {
    return this.find(connection.namespace, connection.id) === connection;
  }

  all(): C[] {
    return [...this.namespaces.values()].flatMap((namespace) => [...namespace.values()]);
  }

  /** Adds the connection. Its id is never missing, not for an instant: a connection that had it is replaced and returned. */
  add(connection: C): C | undefined {
    let namespace = this.namespaces.get(connection.namespace);
    if (namespace === undefined) {
      namespace = new Namespace<C>(this.#endOfTurn, this.#context);
      this.namespaces.set(connection.namespace, namespace);
    }
    const replaced = namespace.get(connection.id);
    namespace.join(connection);
    if (replaced === undefined) this.#size++;
    else coreOf(replaced).outbox.leave();
    return replaced;
  }

  /** Removes exactly this connection, not whatever has its id now. @returns `false` if it was not there */
  remove(connection: C): boolean {
    if (!this.has(connection)) return false;
    // First: what still waits for it may run user code, which may remove it too.
    coreOf(connection).outbox.leave();
    const namespace = this.namespaces.get(connection.namespace);
    if (namespace?.get(connection.id) !== connection) return false;
    namespace.delete(connection.id);
    this.#size--;
    if (namespace.size === 0) this.namespaces.delete(connection.namespace);
    return true;
  }
}
