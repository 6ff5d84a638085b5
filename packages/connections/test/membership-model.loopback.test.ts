import { once } from 'node:events';
import { expect, test } from 'vitest';
import { ConnectionsPool, type Connection } from '../src/index.js';
import { Loopback, type Client } from './support/loopback.js';
import { Random } from './support/random.js';
import { assertSame, record, RegistryModel } from './support/registry-model.js';

const NAMESPACES = ['a', 'b', '__proto__'];
const IDS = ['1', '2', '3', 'constructor'];

test.each(['reject', 'replace'] as const)(
  "a pool of real sockets agrees with its model (onDuplicate '%s')",
  async (onDuplicate) => {
    const random = new Random(7);
    const loopback = await Loopback.start();
    const pool = new ConnectionsPool({ onDuplicate });
    const model = new RegistryModel(onDuplicate);
    const told = record(pool);
    const clients = new Map<Connection, Client>();

    const newcomer = async (): Promise<void> => {
      const { client, socket, connection } = await loopback.connect(
        random.pick(IDS),
        random.pick(NAMESPACES),
      );
      clients.set(connection, client);
      socket.prependListener('close', (code: number) => model.close(connection, code));
      model.join(connection);
      await expect(pool.newConnection(connection)).resolves.toBeUndefined();
    };
    const ended = async (connection: Connection, end: () => unknown): Promise<void> => {
      if (connection.closed) return;
      const closed = once(connection, 'close');
      end();
      await closed;
    };
    const operations: ((one: Connection) => Promise<void>)[] = [
      newcomer,
      newcomer,
      async (one) => {
        model.remove(one);
        await pool.removeConnection(one);
      },
      (one) => ended(one, () => clients.get(one)?.socket.close(4001)),
      (one) => ended(one, () => clients.get(one)?.socket.terminate()),
      (one) => ended(one, () => void one.close(4002)),
      (one) => ended(one, () => one.terminate()),
    ];

    await newcomer();
    for (let step = 0; step < 80; step++) {
      await random.pick(operations)(random.pick([...clients.keys()]));
      assertSame(pool, told, model);
    }
    // All members get it, and nobody else.
    for (const namespace of NAMESPACES) await pool.broadcastMessage(namespace, `to ${namespace}`);
    for (const [connection, client] of clients) {
      if (connection.closed) expect(client.inbox).toEqual([]);
      else if (model.has(connection, connection)) {
        expect(await client.exactly(1)).toEqual([`to ${connection.namespace}`]);
      } else expect(await client.exactly(0)).toEqual([]);
    }
  },
);
