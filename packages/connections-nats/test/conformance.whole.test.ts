import { afterAll, beforeAll } from 'vitest';
import { describeAdapter } from '../../connections/test/support/describe-adapter.js';
import { describeWith } from '../../connections/test/support/requires.js';
import { natsAdapter } from '../src/index.js';
import { LIBRARIES, listenersOf } from './support/connections.js';
import { NatsServer } from './support/nats-server.js';

for (const { name, connect } of LIBRARIES) {
  for (const noEcho of [false, true]) {
    const title = noEcho ? `${name} with noEcho` : name;
    describeWith(['nats-server'], title, () => {
      let server: NatsServer;
      beforeAll(async () => {
        server = await NatsServer.start();
      });
      afterAll(() => server.stop());

      describeAdapter(`natsAdapter with a connection of ${title}`, {
        broker: { kill: () => server.kill(), start: () => server.start() },
        async node() {
          const connection = await connect({ port: server.port, noEcho });
          return {
            adapter: natsAdapter({ connection }),
            listeners: () => listenersOf(connection),
            isConnected: () => connection.flush().then(() => true),
            end: () => connection.close(),
          };
        },
      });
    });
  }
}
