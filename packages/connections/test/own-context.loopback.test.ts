import { AsyncLocalStorage } from 'node:async_hooks';
import { expect, test } from 'vitest';
import { Connection, ConnectionsPool, type WebSocketMessage } from '../src/index.js';
import { MemorySocket } from './support/memory-socket.js';

const tenant = new AsyncLocalStorage<string>();

// The timer of all idle limits ran in the context of the request that had started it: connections of other tenants were
// closed in that tenant's context, and traces and loggers named the wrong one.
test('an idle close does not run in the context of the request that started the timer', async () => {
  const stores: unknown[] = [];
  class Traced extends Connection<string, WebSocketMessage, MemorySocket> {
    override async close(code?: number, reason?: string): Promise<void> {
      stores.push(tenant.getStore());
      await super.close(code, reason);
    }
  }
  const pool = new ConnectionsPool<WebSocketMessage, Traced>({ idleTimeout: 100 });
  const connections: Traced[] = [];
  for (const name of ['first', 'second']) {
    tenant.run(name, () => {
      const connection = new Traced(name, 'default', new MemorySocket());
      connections.push(connection);
      void pool.newConnection(connection);
    });
  }
  await expect.poll(() => connections.every(({ closed }) => closed)).toBe(true);
  expect(stores).toEqual([undefined, undefined]);
});

test('the deadline of a close does not run in the context of a request', async () => {
  const stores: unknown[] = [];
  const pool = new ConnectionsPool({ closeTimeout: 100 });
  const socket = new MemorySocket(false);
  socket.terminate = () => {
    stores.push(tenant.getStore());
    socket.end(1006);
  };
  const connection = tenant.run('first', () => {
    const made = new Connection('1', 'default', socket);
    void pool.newConnection(made);
    void made.close(4000);
    return made;
  });
  await connection.close();
  expect(stores).toEqual([undefined]);
});
