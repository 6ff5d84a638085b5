import { describePools } from '../../connections/test/support/describe-pools.js';
import { natsAdapter } from '../src/index.js';
import { describeEachLibrary } from './support/each-library.js';

describeEachLibrary((title, { broker, connect }) => {
  describePools(`pools over NATS with ${title}`, {
    broker,
    async adapter() {
      const connection = await connect();
      return { adapter: natsAdapter({ connection }), end: () => connection.close() };
    },
  });
});
