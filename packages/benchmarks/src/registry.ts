import type * as Library from '@soketi/connections';
import { answer } from '@soketi/load/harness';
import { IdleSocket } from './idle-socket.js';

/** What a registry does with the connection of a number; `find` returns whether it found the right one. */
interface Registry {
  create(index: number): void;
  add(index: number): void;
  find(index: number): boolean;
  remove(index: number): void;
}

const NAMESPACES = 100;
const id = (index: number): string => ids[index] as string;
const namespace = (index: number): string => namespaces[index % NAMESPACES] as string;
const namespaces = Array.from({ length: NAMESPACES }, (_, index) => `namespace-${index}`);
let ids: readonly string[] = [];
let sockets: readonly IdleSocket[] = [];

function ofLibrary({ Connection, ConnectionsPool }: typeof Library): Registry {
  const pool = new ConnectionsPool();
  const connections: Library.Connection[] = [];
  const at = (index: number): Library.Connection => connections[index] as Library.Connection;
  return {
    create: (index) =>
      void connections.push(new Connection(id(index), namespace(index), sockets[index] as IdleSocket)),
    add: (index) => void pool.newConnection(at(index)),
    find: (index) => pool.getConnection(namespace(index), id(index)) === at(index),
    remove: (index) => void pool.removeConnection(at(index)),
  };
}

/** The floor: the cost of everything except the registry. */
function ofMaps(): Registry {
  const registry = new Map<string, Map<string, object>>();
  const connections: object[] = [];
  return {
    create: (index) =>
      void connections.push({ id: id(index), namespace: namespace(index), socket: sockets[index] }),
    add(index) {
      let members = registry.get(namespace(index));
      if (!members) registry.set(namespace(index), (members = new Map<string, object>()));
      members.set(id(index), connections[index] as object);
    },
    find: (index) => registry.get(namespace(index))?.get(id(index)) === connections[index],
    remove(index) {
      const members = registry.get(namespace(index));
      if (members?.delete(id(index)) && members.size === 0) registry.delete(namespace(index));
    },
  };
}

/** The process of one kind of registry: `node registry.js MODULE`; without a module a bare `Map` of `Map`s. */
const [, , module = ''] = process.argv;
const library = module !== '' && ((await import(module)) as typeof Library);

const calls = {
  /** @returns ns per connection to create, add, look up and remove it */
  measure(count: number): number[] {
    ids = Array.from({ length: count }, (_, index) => `connection-${index}`);
    sockets = ids.map(() => new IdleSocket());
    const registry = library ? ofLibrary(library) : ofMaps();
    return (['create', 'add', 'find', 'remove'] as const).map((operation) => {
      globalThis.gc?.();
      const startedAt = process.hrtime.bigint();
      for (let index = 0; index < count; index++) {
        if (registry[operation](index) === false) throw new Error(`Connection ${index} was not found`);
      }
      return Number(process.hrtime.bigint() - startedAt) / count;
    });
  },
};
export type RegistryCalls = typeof calls;

answer(calls);
