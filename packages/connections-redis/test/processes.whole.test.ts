import { beforeEach, expect, test } from 'vitest';
import { failOnUncaught } from '../../connections/test/support/no-uncaught.js';
import { onTestFinished } from '../../connections/test/support/on-test-finished.js';
import { Program } from '../../connections/test/support/program.js';
import { describeWith, hasSignals } from '../../connections/test/support/requires.js';
import { LIBRARIES } from './support/clients.js';
import { PoolNode, until } from './support/pool-node.js';
import type { Order, Report } from './support/redis-node.js';
import { RedisServer } from './support/redis-server.js';

/*
 * Nodes in their own processes, which are suspended and killed. The test process is also a node.
 */

/** A suspension of two seconds exceeds the node timeout. */
const CLUSTER = { heartbeat: 500, nodeTimeout: 1_500 };
const LIBRARY = LIBRARIES.find(({ name }) => name === 'redis 6')!;

class NodeProgram {
  readonly #program: Program;

  constructor({ port }: RedisServer, nodeName: string) {
    const settings = JSON.stringify({ ...CLUSTER, nodeName });
    this.#program = new Program('connections-redis/redis-node', `${port}`, settings);
  }

  signal(signal: NodeJS.Signals): void {
    this.#program.process.kill(signal);
  }

  ask = (order: Order) => this.#program.ask(order) as Promise<Report>;
  report = () => this.ask({ report: true });

  async until(check: (report: Report) => boolean): Promise<Report> {
    let report = await this.report();
    await until(async () => check((report = await this.report())));
    return report;
  }
}

describeWith(['redis-server'], 'nodes that are stopped and killed', () => {
  failOnUncaught();
  let server: RedisServer;
  let here: PoolNode;
  let there: NodeProgram;
  let changes: string[];

  beforeEach(async () => {
    server = await RedisServer.start();
    onTestFinished(() => server.stop());
    there = new NodeProgram(server, 'there');
    here = await PoolNode.start(LIBRARY, server, { ...CLUSTER, nodeName: 'here' });
    changes = [];
    here.pool.on('node', ({ name }, change) => changes.push(`${name} ${change}`));
    await there.until(({ state, nodes }) => state === 'up' && nodes === 2);
    await until(() => here.pool.cluster.nodes.size === 2);
  }, 60_000);

  const clientsOfNode = async (): Promise<string[]> => {
    const list = String(await server.command('CLIENT', 'LIST'));
    return [...list.matchAll(/^id=(\d+) .* name=node /gm)].map(([, id]) => id!);
  };

  test.runIf(hasSignals).each([
    ['keeps its connections to Redis', false],
    ['loses its connections to Redis meanwhile', true],
  ])(
    'a process that is suspended for longer than nodeTimeout and %s gives up an id that was taken meanwhile',
    { timeout: 60_000 },
    async (_, losesConnections) => {
      await there.ask({ join: 'same' });
      await there.ask({ join: 'other' });
      there.signal('SIGSTOP');
      await until(() => changes.includes('there lost'));
      const same = await here.join('same', 'x');
      if (losesConnections)
        for (const id of await clientsOfNode()) await server.command('CLIENT', 'KILL', 'ID', id);
      there.signal('SIGCONT');
      await until(() => changes.at(-1) === 'there joined');
      const report = await there.until(({ state, closed }) => state === 'up' && 'same' in closed);
      expect(report.closed).toEqual({ same: 4409 });
      expect(same.closes).toEqual([]);
      // It was suspended itself: it must not report other nodes as lost.
      expect(report.events).not.toContain('lost');
      expect(await here.pool.send('x', 'other', 'still here')).toBe(true);
      expect(await here.pool.send('x', 'same', 'mine')).toBe(true);
      const { received } = await there.report();
      expect(received['other']).toEqual(['still here']);
      expect(received['same']).toEqual([]);
      expect(here.falls).toEqual([0, 0]);
    },
  );

  test.runIf(hasSignals)(
    'a killed process is missing from a count, is then reported as lost, and its ids are free',
    { timeout: 60_000 },
    async () => {
      const { id } = await there.ask({ join: 'same' });
      await until(() => here.pool.cluster.nodes.get(id)?.connections === 1);
      there.signal('SIGKILL');
      const { total, answered, missing } = await here.pool.cluster.count('x');
      expect({ total, answered, names: missing.map(({ name }) => name) }).toEqual({
        total: 0,
        answered: 1,
        names: ['there'],
      });
      await until(() => changes.at(-1) === 'there lost');
      expect(await here.pool.cluster.count('x')).toEqual({ total: 0, answered: 1, missing: [] });
      const same = await here.join('same', 'x');
      const again = new NodeProgram(server, 'there');
      await again.until(({ state, nodes }) => state === 'up' && nodes === 2);
      await until(() => changes.at(-1) === 'there joined');
      expect(same.closes).toEqual([]);
      expect(await here.pool.send('x', 'same', 'mine')).toBe(true);
    },
  );
});
