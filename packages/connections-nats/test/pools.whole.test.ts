import { afterAll, beforeAll } from 'vitest';
import { describePools } from '../../connections/test/support/describe-pools.js';
import { describeWith } from '../../connections/test/support/requires.js';
import { natsAdapter } from '../src/index.js';
import { LIBRARIES } from './support/connections.js';
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

      describePools(`pools over NATS with ${title}`, {
        broker: { kill: () => server.kill(), start: () => server.start() },
        async adapter() {
          const connection = await connect({ port: server.port, noEcho });
          return { adapter: natsAdapter({ connection }), end: () => connection.close() };
        },
      });
    });
  }
}
