import { describeAdapter } from '../../connections/test/support/describe-adapter.js';
import { redisAdapter } from '../src/index.js';
import { describeEachLibrary } from './support/each-library.js';

describeEachLibrary((name, { broker, connect }) => {
  describeAdapter(`redisAdapter with a client of ${name}`, {
    broker,
    async node() {
      const { client, listeners, ping, end } = await connect();
      return {
        adapter: redisAdapter({ client }),
        listeners,
        isConnected: async () => (await ping()) === 'PONG',
        end,
      };
    },
  });
});
