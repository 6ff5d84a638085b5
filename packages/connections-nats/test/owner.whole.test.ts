import { describe, expect, test } from 'vitest';
import { ConnectionsPool } from '../../connections/src/index.js';
import { connectInMemory } from '../../connections/test/support/memory-socket.js';
import { failOnUncaught } from '../../connections/test/support/no-uncaught.js';
import { onTestFinished } from '../../connections/test/support/on-test-finished.js';
import { describeWith } from '../../connections/test/support/requires.js';
import { natsAdapter, type NatsAdapterOptions } from '../src/index.js';
import { LIBRARIES, type NatsOptions } from './support/connections.js';
import { NatsServer } from './support/nats-server.js';

/*
 * What the README allows the owner of a connection to do with it while a pool uses it. None of it may end the process.
 */

const CLUSTER = { heartbeat: 200, nodeTimeout: 2_000 };

describeWith(['nats-server'], 'the owner of a connection to NATS', () => {
  failOnUncaught();

  describe.each(LIBRARIES)('$name', ({ name, connect }) => {
    async function start(
      options: Partial<NatsOptions> = {},
      adapterOptions: Partial<NatsAdapterOptions> = {},
    ) {
      const server = await NatsServer.start();
      onTestFinished(() => server.stop());
      const connection = await connect({ port: server.port, ...options });
      onTestFinished(() => connection.close());
      const pool = new ConnectionsPool({
        adapter: natsAdapter({ connection, ...adapterOptions }),
        cluster: CLUSTER,
      });
      onTestFinished(() => pool.cluster.leave());
      const errors: string[] = [];
      pool.on('error', (error) => errors.push(String(error)));
      return { server, connection, pool, errors };
    }
    const untilState = (pool: ConnectionsPool, state: string) =>
      expect.poll(() => pool.cluster.state).toBe(state);

    test(`a pool whose owner closes the connection is down, works alone and can leave the cluster: ${name}`, async () => {
      const { connection, pool } = await start();
      await untilState(pool, 'up');
      const { connection: member, socket } = connectInMemory('1');
      await pool.newConnection(member);
      await connection.close();
      await untilState(pool, 'down');
      expect(await pool.broadcastMessage('default', 'still here')).toMatchObject({ sent: 1 });
      expect(socket.sent).toEqual(['still here']);
      await pool.cluster.leave();
      expect(pool.cluster.state).toBe('alone');
    });

    test(`a pool whose owner drains the connection is down: ${name}`, async () => {
      const { connection, pool } = await start();
      await untilState(pool, 'up');
      await (connection as unknown as { drain(): Promise<void> }).drain();
      await untilState(pool, 'down');
    });

    test(`a pool that is created while the server is away is up when the server is back: ${name}`, async () => {
      const { server, connection } = await start();
      await server.kill();
      const pool = new ConnectionsPool({ adapter: natsAdapter({ connection }), cluster: CLUSTER });
      onTestFinished(() => pool.cluster.leave());
      expect(pool.cluster.state).toBe('connecting');
      await server.start();
      await untilState(pool, 'up');
    });

    test(`the adapter warns once about a finite number of reconnect attempts, however often the connection reconnects: ${name}`, async () => {
      const { server, pool, errors } = await start({ maxReconnectAttempts: 1_000 });
      for (let outage = 0; outage < 2; outage++) {
        await untilState(pool, 'up');
        await server.kill();
        await untilState(pool, 'down');
        await server.start();
      }
      await untilState(pool, 'up');
      expect(errors.filter((error) => error.includes('maxReconnectAttempts'))).toHaveLength(1);
    });

    test(`two pools with different prefixes share a connection and do not receive each other's messages: ${name}`, async () => {
      const { connection, pool } = await start({}, { prefix: 'a' });
      const other = new ConnectionsPool({
        adapter: natsAdapter({ connection, prefix: 'a.b' }),
        cluster: CLUSTER,
      });
      onTestFinished(() => other.cluster.leave());
      await untilState(pool, 'up');
      await untilState(other, 'up');
      const { connection: member, socket } = connectInMemory('1');
      await other.newConnection(member);
      await pool.broadcastMessage('default', 'for nobody');
      await other.broadcastMessage('default', 'for one');
      await expect.poll(() => socket.sent).toEqual(['for one']);
      expect([pool.cluster.nodes.size, other.cluster.nodes.size]).toEqual([1, 1]);
    });
  });
});
