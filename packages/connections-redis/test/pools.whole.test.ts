import { afterAll, beforeAll } from 'vitest';
import { describePools } from '../../connections/test/support/describe-pools.js';
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

    describePools(`pools over Redis with ${name}`, {
      broker: { kill: () => server.kill(), start: () => server.start() },
      async adapter() {
        const { client, connect, end } = create({ port: server.port });
        await connect();
        return { adapter: redisAdapter({ client }), end };
      },
    });
  });
}
