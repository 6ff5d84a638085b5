import { describePools } from '../../connections/test/support/describe-pools.js';
import { redisAdapter } from '../src/index.js';
import { describeEachLibrary } from './support/each-library.js';

describeEachLibrary((name, { broker, connect }) => {
  describePools(`pools over Redis with ${name}`, {
    broker,
    async adapter() {
      const { client, end } = await connect();
      return { adapter: redisAdapter({ client }), end };
    },
  });
});
