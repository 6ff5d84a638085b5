import { afterAll, beforeAll } from 'vitest';
import { describeWith } from '../../../connections/test/support/requires.js';
import { LIBRARIES, type TestConnection } from './connections.js';
import { NatsServer } from './nats-server.js';

/** One server for all tests of a suite, and connections to it. */
export interface NatsFixture {
  readonly broker: { readonly kill: () => Promise<void>; readonly start: () => Promise<void> };
  readonly connect: () => Promise<TestConnection>;
}

/** Runs a suite with each client library, with and without `noEcho`. */
export function describeEachLibrary(suite: (title: string, fixture: NatsFixture) => void): void {
  for (const { name, connect } of LIBRARIES) {
    for (const noEcho of [false, true]) {
      const title = noEcho ? `${name} with noEcho` : name;
      describeWith(['nats-server'], title, () => {
        let server: NatsServer;
        beforeAll(async () => {
          server = await NatsServer.start();
        });
        afterAll(() => server.stop());
        suite(title, {
          broker: { kill: () => server.kill(), start: () => server.start() },
          connect: () => connect({ port: server.port, noEcho }),
        });
      });
    }
  }
}
