import { once } from 'node:events';
import { createServer, get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { ConnectionsPool, gracefulShutdown } from '../../src/index.js';
import { expectCollected } from '../support/garbage.js';
import { onTestFinished } from '../support/on-test-finished.js';

// A shutdown keeps track of the sockets of its server, to cut off those that hold it open.
test('a socket of a server that is to be shut down is not retained when it has closed', async () => {
  const refs: WeakRef<object>[] = [];
  const server = createServer((_request, response) => response.setHeader('Connection', 'close').end('hello'));
  gracefulShutdown({ server, pool: new ConnectionsPool() });
  server.on('connection', (socket) => refs.push(new WeakRef(socket)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  for (let i = 0; i < 3; i++) {
    const [response] = (await once(get({ host: '127.0.0.1', port }), 'response')) as [IncomingMessage];
    await once(response.resume(), 'close');
  }
  expect(refs).toHaveLength(3);
  await expectCollected(refs);
});
