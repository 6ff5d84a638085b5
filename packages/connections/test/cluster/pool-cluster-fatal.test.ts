import { expect, test } from 'vitest';
import { ConnectionsPool, type BroadcastResult } from '../../src/index.js';
import { memoryBus } from '../../src/testing.js';
import { leavesAfterTest, pass, useFakeClusters } from '../support/cluster-nodes.js';
import { connectInMemory } from '../support/memory-socket.js';

type Exceptions = Iterable<string> & object;

const KINDS: Readonly<Record<string, (exceptions?: Exceptions) => Exceptions>> = {
  'passes the audience on': (exceptions = []) => exceptions,
  'passes a copy of the audience on': (exceptions = []) => [...exceptions],
};

useFakeClusters();

// A fatal broadcastError() went to other nodes around an overridden broadcastMessage(): their clients got another
// message than the clients of this node.
test.each(Object.entries(KINDS))(
  'a fatal broadcastError goes to other pools through an overridden broadcastMessage that %s',
  async (_, passOn) => {
    class Marked extends ConnectionsPool<string> {
      override broadcastMessage(
        namespace: string,
        message: string,
        exceptions?: Exceptions,
      ): Promise<BroadcastResult> {
        void super.broadcastMessage('audit', 'an error', exceptions);
        return super.broadcastMessage(namespace, `<${message}>`, passOn(exceptions));
      }
    }
    const bus = memoryBus();
    const [a, b] = [new Marked({ adapter: bus.adapter() }), new Marked({ adapter: bus.adapter() })];
    leavesAfterTest({
      leave: async () => {
        await Promise.all([a.cluster.leave(), b.cluster.leave()]);
      },
    });
    await pass(100);
    const members = [
      ['1', 'x', a],
      ['2', 'x', b],
      ['3', 'x', b],
      ['4', 'audit', b],
    ] as const;
    const sockets = [];
    for (const [id, namespace, pool] of members) {
      const { connection, socket } = connectInMemory(id, namespace);
      const joined = pool.newConnection(connection);
      await pass(10);
      await joined;
      sockets.push(socket);
    }
    void a.broadcastError('x', 'fatal', 4003, 'why', ['3']);
    await pass(10);
    expect(sockets.map(({ sent }) => sent)).toEqual([['<fatal>'], ['<fatal>'], [], ['an error']]);
    const closed = [{ code: 4003, reason: 'why' }];
    expect(sockets.map(({ closes }) => closes)).toEqual([closed, closed, [], []]);
  },
);
