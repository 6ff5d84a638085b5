import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../src/index.js';
import { expectConsistent } from './support/consistent.js';
import { MemorySocket } from './support/memory-socket.js';
import { failOnUncaught } from './support/no-uncaught.js';
import { Random } from './support/random.js';

failOnUncaught();

test.each([1, 2, 3, 4, 5])(
  'a namespace that is created and emptied between sends keeps its counts right (seed %i)',
  async (seed) => {
    const random = new Random(seed);
    const pool = new ConnectionsPool();
    const expected = { made: 0, emptied: 0 };
    pool.on('connection', () => (expected.made += pool.namespace('n').size === 1 ? 1 : 0));
    pool.on('emptyNamespace', () => expected.emptied++);
    const results: ReturnType<ConnectionsPool['broadcastMessage']>[] = [];
    const sends: Promise<boolean>[] = [];
    const sockets: MemorySocket[] = [];
    for (let step = 0; step < 1_000; step++) {
      const id = String(random.below(3));
      const held = pool.getConnection('n', id);
      const action = random.below(7);
      if (action === 0 && held === undefined) {
        const socket = new MemorySocket();
        sockets.push(socket);
        void pool.newConnection(new Connection(id, 'n', socket));
      } else if (action === 1) void held?.close();
      else if (action === 2) held?.terminate();
      else if (action === 3 && held) void pool.removeConnection(held);
      else if (action === 4) results.push(pool.broadcastMessage('n', String(step)));
      else if (action === 5) sends.push(pool.send('n', id, String(step)));
      else await nextTurn();
    }
    await pool.closeAll('n');
    const sentByBroadcast = (await Promise.all(results)).map(({ recipients, sent, dropped, failed }) => {
      expect(sent + dropped + failed).toBe(recipients);
      return sent;
    });
    const sentAlone = (await Promise.all(sends)).filter(Boolean).length;
    const sent = sentByBroadcast.reduce((sum, count) => sum + count, sentAlone);
    expect(sockets.reduce((sum, socket) => sum + socket.sent.length, 0)).toBe(sent);
    expect(pool.stats().messagesSent).toBe(sent);
    expect(expected.emptied).toBe(expected.made);
    await expectConsistent(pool, 0);
  },
);
