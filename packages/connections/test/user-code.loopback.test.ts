import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { ConnectionsPool, type Connection } from '../src/index.js';
import { expectConsistent } from './support/consistent.js';
import { failures } from './support/failing-listeners.js';
import type { Member } from './support/engine.js';
import { poolOf } from './support/pool-of.js';
import { Loopback, type Client } from './support/loopback.js';
import { failOnUncaught } from './support/no-uncaught.js';
import { watchUnhandled } from './support/unhandled.js';

failOnUncaught();

describe('a listener that acts on the pool', () => {
  type Action = (pool: ConnectionsPool, connections: readonly Connection[]) => unknown;
  const actions: Record<string, Action> = {
    throws: () => {
      throw new Error('a listener failed');
    },
    rejects: () => Promise.reject(new Error('a listener failed')),
    'closes its namespace': (pool) => void pool.closeAll('one'),
    'closes everything': (pool) => {
      for (const name of [...pool.connections.keys()]) void pool.closeAll(name);
    },
    'drains the pool': (pool) => void pool.drainConnections({ grace: 300 }),
    'removes everyone': (pool, connections) => {
      for (const connection of connections) void pool.removeConnection(connection);
    },
    'terminates everyone': (_, connections) => {
      for (const connection of connections) connection.terminate();
    },
    'closes everyone and broadcasts': (pool, connections) => {
      for (const connection of connections) void connection.close();
      void pool.broadcastMessage('one', 'x');
      pool.flush();
    },
    'sends and broadcasts': (pool) => {
      void pool.broadcastMessage('one', 'x');
      void pool.send('one', '1', 'y');
      pool.flush();
    },
    'joins again': (pool, connections) => {
      for (const connection of connections) void pool.newConnection(connection);
    },
  };
  const events = ['message', 'close', 'connection', 'disconnection', 'emptyNamespace', 'onEmptyNamespace'];
  const cases = events.flatMap((event) => Object.keys(actions).map((action) => [event, action] as const));

  // Whatever happens first, the pool is consistent, and every connection has closed exactly once at the end.
  test.each(cases)('a listener of %s that %s leaves the pool consistent', async (event, action) => {
    const loopback = await Loopback.start();
    const pool = new ConnectionsPool({ closeTimeout: 300 });
    const connections: Connection[] = [];
    const clients: Client[] = [];
    const act = (): unknown => actions[action]!(pool, connections);
    const closes: string[] = [];
    const removals: Promise<unknown>[] = [];

    if (event === 'connection' || event === 'disconnection' || event === 'emptyNamespace')
      pool.on(event, act);
    for (const [id, namespace] of [
      ['1', 'one'],
      ['2', 'one'],
      ['3', 'two'],
    ] as const) {
      const { client, connection } = await loopback.connect(id, namespace);
      connections.push(connection);
      clients.push(client);
      connection.on('close', () => closes.push(id));
      if (event === 'message' || event === 'close') connection.on(event, act);
      if (event === 'onEmptyNamespace') {
        connection.on('close', () => {
          // The failure is reported to the caller.
          removals.push(pool.removeConnection(connection, act).catch((error: unknown) => error));
        });
      }
      void pool.newConnection(connection).catch(() => undefined);
    }
    for (const { socket } of clients) if (socket.readyState === WebSocket.OPEN) socket.send('hello');
    clients[2]!.socket.close(4000);
    await clients[2]!.closed;
    for (const { socket } of clients) socket.close(4000);
    await Promise.all(clients.map(({ closed }) => closed));
    await Promise.all(connections.map((connection) => connection.close()));
    await Promise.all(removals);

    expect(closes.toSorted()).toEqual(['1', '2', '3']);
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    await expectConsistent(pool, 0);
  });
});

/** What a listener may do to the pool that calls it. */
interface Reentry {
  readonly act: (pool: ConnectionsPool, spare: Connection) => Promise<unknown>;
  /** The ids of the namespace afterwards. */
  readonly stay: (ids: string[]) => string[];
  readonly received: string[];
}

const reentries: Record<string, Reentry> = {
  closeAll: { act: (pool) => pool.closeAll('default', 4000), stay: () => [], received: [] },
  removeConnection: {
    act: (pool) => pool.removeConnection(pool.getConnection('default', '2')!),
    stay: (ids) => ids.filter((id) => id !== '2'),
    received: [],
  },
  newConnection: {
    act: (pool, spare) => pool.newConnection(spare),
    stay: (ids) => [...ids, 'spare'],
    received: [],
  },
  broadcast: {
    act: (pool) => pool.broadcastMessage('default', 'from within'),
    stay: (ids) => ids,
    received: ['from within'],
  },
};

describe.each(Object.entries(reentries))('calling %s from a listener', (name, { act, stay, received }) => {
  interface Cause {
    readonly firstStays: boolean;
    readonly cause: (pool: ConnectionsPool, first: Member, listener: () => void) => void;
  }
  const events: Record<string, Cause> = {
    message: {
      firstStays: true,
      cause: (_pool, { client, connection }, listener) => {
        connection.once('message', listener);
        client.socket.send('x');
      },
    },
    close: {
      firstStays: false,
      cause: (_pool, { client, connection }, listener) => {
        connection.once('close', listener);
        client.socket.close();
      },
    },
    'disconnection of the pool': {
      firstStays: false,
      cause: (pool, { client }, listener) => {
        pool.once('disconnection', listener);
        client.socket.close();
      },
    },
  };

  test.each(Object.entries(events))(
    `a listener of %s may call ${name} of the pool`,
    async (_event, { firstStays, cause }) => {
      const { loopback, pool, members, join } = await poolOf(3, { isNumbered: true });
      const [first, , third] = members;
      const bystander = await join('1', 'elsewhere');
      const spare = await loopback.connect('spare');
      await new Promise<void>((resolve, reject) => {
        cause(pool, first, () => {
          act(pool, spare.connection).then(() => resolve(), reject);
        });
      });
      const before = firstStays ? ['1', '2', '3'] : ['2', '3'];
      expect([...pool.namespace('default').keys()]).toEqual(stay(before));
      expect([...pool.namespace('elsewhere').keys()]).toEqual(['1']);
      if (stay(before).includes('3')) expect(await third.client.exactly(received.length)).toEqual(received);
      expect(await bystander.client.exactly(0)).toEqual([]);
      expect(pool.stats().connections).toBe(stay(before).length + 1);
    },
  );

  test(`onEmptyNamespace may call ${name} of the pool`, async () => {
    const { loopback, pool, members, join } = await poolOf(3, { isNumbered: true });
    const third = members[2];
    const last = await join('1', 'emptied');
    const spare = await loopback.connect('spare');
    await pool.removeConnection(last.connection, () => act(pool, spare.connection));
    expect([...pool.namespace('default').keys()]).toEqual(stay(['1', '2', '3']));
    if (stay(['3']).includes('3')) expect(await third.client.exactly(received.length)).toEqual(received);
    expect(pool.hasNamespace('emptied')).toBe(false);
  });
});

test.each(failures)(
  'a close listener that %s is an error event of its connection, and the connection leaves the pool',
  async (_title, fail) => {
    const { reasons, settle } = watchUnhandled();
    const { pool, members } = await poolOf(2, { isNumbered: true });
    const { connection } = members[0];
    const told = vi.fn();
    connection.on('close', fail);
    connection.on('error', told);
    await connection.close();
    expect([...pool.namespace('default').keys()]).toEqual(['2']);
    await settle();
    expect(told.mock.calls).toEqual([[new Error('listener failed')]]);
    expect(reasons).toEqual([]);
  },
);
