import { afterAll, beforeAll } from 'vitest';
import { describeWith } from '../../../connections/test/support/requires.js';
import { LIBRARIES, type TestClient } from './clients.js';
import { RedisServer } from './redis-server.js';

/** One server for all tests of a suite, and clients of it. */
export interface RedisFixture {
  readonly broker: { readonly kill: () => Promise<void>; readonly start: () => Promise<void> };
  readonly connect: () => Promise<TestClient>;
}

/** Runs a suite with each client library. */
export function describeEachLibrary(suite: (name: string, fixture: RedisFixture) => void): void {
  for (const { name, create } of LIBRARIES) {
    describeWith(['redis-server'], name, () => {
      let server: RedisServer;
      beforeAll(async () => {
        server = await RedisServer.start();
      });
      afterAll(() => server.stop());
      suite(name, {
        broker: { kill: () => server.kill(), start: () => server.start() },
        async connect() {
          const client = create({ port: server.port });
          await client.connect();
          return client;
        },
      });
    });
  }
}
