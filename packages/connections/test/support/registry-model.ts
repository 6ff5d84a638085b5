import assert from 'node:assert/strict';
import type { Connection, ConnectionsPool, ConnectionsPoolOptions } from '../../src/index.js';

type Policy = NonNullable<ConnectionsPoolOptions['onDuplicate']>;

/**
 * Who is in a pool, and what it has emitted, written as plainly as possible: a call takes effect at once, a socket that
 * closes at its `close` event.
 */
export class RegistryModel {
  readonly namespaces = new Map<string, Map<string, Connection>>();
  /** What the pool must have emitted, in order. */
  readonly told: string[] = [];
  /** Connections whose closing has begun, on either side. */
  readonly closing = new Set<Connection>();
  readonly #policy: Policy;
  /** Namespace without members -> the connection whose closing emptied it. */
  readonly #emptiedBy = new Map<string, Connection>();

  constructor(policy: Policy) {
    this.#policy = policy;
  }

  get all(): Connection[] {
    return [...this.namespaces.values()].flatMap((members) => [...members.values()]);
  }

  has({ namespace, id }: Connection, connection?: Connection): boolean {
    const holder = this.namespaces.get(namespace)?.get(id);
    return connection === undefined ? holder !== undefined : holder === connection;
  }

  /** The members of a namespace that a broadcast reaches. */
  recipients(namespace: string): Connection[] {
    return [...(this.namespaces.get(namespace)?.values() ?? [])].filter((one) => !this.closing.has(one));
  }

  /** The connection joins, or is refused and closed. */
  join(connection: Connection): void {
    const { namespace, id } = connection;
    const holder = this.namespaces.get(namespace)?.get(id);
    if (holder === connection) return;
    const isHeld = holder !== undefined && !this.closing.has(holder);
    if (this.closing.has(connection)) {
      this.told.push(`! ${namespace}/${id} ERR_CONNECTION_CLOSED`);
      return;
    }
    if (isHeld && this.#policy === 'reject') {
      this.closing.add(connection);
      this.told.push(`! ${namespace}/${id} ERR_DUPLICATE_CONNECTION`);
      return;
    }
    const members = this.namespaces.get(namespace) ?? new Map<string, Connection>();
    this.namespaces.set(namespace, members.set(id, connection));
    this.#emptiedBy.delete(namespace);
    if (holder !== undefined) {
      this.closing.add(holder);
      this.told.push(`- ${namespace}/${id} ${isHeld ? 4409 : undefined}`);
    }
    this.told.push(`+ ${namespace}/${id}`);
  }

  /** The connection is removed. @returns whether the callback of `removeConnection` is called */
  remove(connection: Connection): boolean {
    if (this.#leave(connection, undefined)) return true;
    const { namespace } = connection;
    return this.#emptiedBy.get(namespace) === connection && this.#emptiedBy.delete(namespace);
  }

  /** Its socket has closed. */
  close(connection: Connection, code: number): void {
    this.closing.add(connection);
    if (this.#leave(connection, code)) this.#emptiedBy.set(connection.namespace, connection);
  }

  /** @returns whether it was the last member of its namespace */
  #leave(connection: Connection, code: number | undefined): boolean {
    const { namespace, id } = connection;
    if (!this.has(connection, connection)) return false;
    const members = this.namespaces.get(namespace)!;
    members.delete(id);
    this.told.push(`- ${namespace}/${id} ${code}`);
    if (members.size > 0) return false;
    this.namespaces.delete(namespace);
    this.told.push(`0 ${namespace}`);
    return true;
  }
}

/** The events of the pool, in the words of the model. */
export function record(pool: ConnectionsPool): string[] {
  const told: string[] = [];
  pool.on('connection', ({ namespace, id }) => told.push(`+ ${namespace}/${id}`));
  pool.on('disconnection', ({ namespace, id }, code) => told.push(`- ${namespace}/${id} ${code}`));
  pool.on('refused', ({ namespace, id }, { code }) => told.push(`! ${namespace}/${id} ${code}`));
  pool.on('emptyNamespace', (namespace) => told.push(`0 ${namespace}`));
  return told;
}

/**
 * The pool holds what the model holds, in the same order, and has told the same since the last comparison.
 *
 * By `assert`: so many `expect`s would take ten times as long as all that they look at.
 */
export function assertSame(pool: ConnectionsPool, told: string[], model: RegistryModel): void {
  assert.deepEqual(told.splice(0), model.told.splice(0));
  assert.deepEqual([...pool.connections.keys()], [...model.namespaces.keys()]);
  for (const [name, members] of model.namespaces) {
    assert.deepEqual([...pool.namespace(name).keys()], [...members.keys()]);
    // Not with `deepEqual`, which would compare entire connections.
    for (const [id, connection] of members) assert.equal(pool.getConnection(name, id) === connection, true);
  }
  const all = model.all;
  const { connections, namespaces, closing } = pool.stats();
  assert.deepEqual(
    { connections, namespaces, closing },
    {
      connections: all.length,
      namespaces: model.namespaces.size,
      closing: all.filter((one) => model.closing.has(one)).length,
    },
  );
}
