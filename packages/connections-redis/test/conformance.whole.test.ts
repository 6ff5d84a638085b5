import { afterAll, beforeAll } from 'vitest';
import { describeAdapter } from '../../connections/test/support/describe-adapter.js';
import { describeWith } from '../../connections/test/support/requires.js';
import { redisAdapter } from '../src/index.js';
import { LIBRARIES } from './support/clients.js';
import { RedisServer } from './support/redis-server.js';

for (const { name, create } of LIBRARIES) {
  describeWith(['redis-server'], name, () => {
    let server: RedisServer;
    beforeAll(async () => {
      server = await RedisServer.start();
    });
    afterAll(() => server.stop());

    describeAdapter(`redisAdapter with a client of ${name}`, {
      broker: { kill: () => server.kill(), start: () => server.start() },
      async node() {
        const { client, connect, listeners, ping, end } = create({ port: server.port });
        await connect();
        return {
          adapter: redisAdapter({ client }),
          listeners,
          isConnected: async () => (await ping()) === 'PONG',
          end,
        };
      },
    });
  });
}
