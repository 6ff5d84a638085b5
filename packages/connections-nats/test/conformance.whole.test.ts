import { describeAdapter } from '../../connections/test/support/describe-adapter.js';
import { natsAdapter } from '../src/index.js';
import { listenersOf } from './support/connections.js';
import { describeEachLibrary } from './support/each-library.js';

describeEachLibrary((title, { broker, connect }) => {
  describeAdapter(`natsAdapter with a connection of ${title}`, {
    broker,
    async node() {
      const connection = await connect();
      return {
        adapter: natsAdapter({ connection }),
        listeners: () => listenersOf(connection),
        isConnected: () => connection.flush().then(() => true),
        end: () => connection.close(),
      };
    },
  });
});
