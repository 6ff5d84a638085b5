import { EventEmitter } from 'node:events';
import { Connection, ConnectionsPool } from '@soketi/connections';
import { answer } from './rpc.js';

export type RegistryKind = 'soketi' | 'map';

/** Calls that the process answers. */
export interface RegistryCalls {
  /** @returns ns per connection to create, add, look up and remove it */
  measure(connections: number): number[];
}

const NAMESPACES = 100;

/** As much of a socket as a registry sees. */
class IdleSocket extends EventEmitter {
  readonly readyState = 1;
  send(): void {
    throw new Error('Nothing is sent here');
  }
  close(): void {
    throw new Error('Nothing is closed here');
  }
}

interface Registry<C> {
  create(id: string, namespace: string, socket: IdleSocket): C;
  add(connection: C): unknown;
  find(namespace: string, id: string): C | undefined;
  remove(connection: C): unknown;
}

function pool(): Registry<Connection> {
  const connections = new ConnectionsPool();
  return {
    create: (id, namespace, socket) => new Connection(id, namespace, socket),
    add: (connection) => connections.newConnection(connection),
    find: (namespace, id) => connections.getConnection(namespace, id),
    remove: (connection) => connections.removeConnection(connection),
  };
}

interface Plain {
  readonly id: string;
  readonly namespace: string;
  readonly socket: IdleSocket;
}

/** The floor: what is left when a registry does nothing else. */
function map(): Registry<Plain> {
  const namespaces = new Map<string, Map<string, Plain>>();
  return {
    create: (id, namespace, socket) => ({ id, namespace, socket }),
    add(connection) {
      const { namespace, id } = connection;
      let members = namespaces.get(namespace);
      if (members === undefined) namespaces.set(namespace, (members = new Map<string, Plain>()));
      members.set(id, connection);
    },
    find: (namespace, id) => namespaces.get(namespace)?.get(id),
    remove({ namespace, id }) {
      const members = namespaces.get(namespace);
      if (members?.delete(id) === true && members.size === 0) namespaces.delete(namespace);
    },
  };
}

function measure<C>(registry: Registry<C>, count: number): number[] {
  const names = Array.from({ length: NAMESPACES }, (_, index) => `namespace-${index}`);
  const ids = Array.from({ length: count }, (_, index) => `connection-${index}`);
  const sockets = ids.map(() => new IdleSocket());
  const nameOf = (index: number): string => names[index % NAMESPACES] as string;
  const connections: C[] = [];
  const time = (operation: (index: number) => void): number => {
    globalThis.gc?.();
    const startedAt = process.hrtime.bigint();
    for (let index = 0; index < count; index++) operation(index);
    return Number(process.hrtime.bigint() - startedAt) / count;
  };
  return [
    time((index) => {
      connections.push(registry.create(ids[index] as string, nameOf(index), sockets[index] as IdleSocket));
    }),
    time((index) => void registry.add(connections[index] as C)),
    time((index) => {
      const found = registry.find(nameOf(index), ids[index] as string);
      if (found !== connections[index]) throw new Error(`Connection ${index} was not found`);
    }),
    time((index) => void registry.remove(connections[index] as C)),
  ];
}

const kind = process.argv[2] as RegistryKind;

answer({
  measure: (count) => (kind === 'soketi' ? measure(pool(), count) : measure(map(), count)),
} satisfies RegistryCalls);
