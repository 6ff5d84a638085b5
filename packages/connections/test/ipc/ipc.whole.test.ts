import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import type { Order, Told } from '../support/ipc-workers.js';
import { Program } from '../support/program.js';
import { hasSignals } from '../support/requires.js';

/** A primary and its workers, in separate processes. */
class Workers {
  readonly #program: Program;
  readonly #told: Told[] = [];

  constructor(serialization: string, workers: number, maxUnsentBytes = 32 * 1024 * 1024) {
    this.#program = new Program('ipc-workers', serialization, `${workers}`, `${maxUnsentBytes}`);
    this.#program.process.on('message', (told: Told) => this.#told.push(told));
  }

  order(order: Order): void {
    this.#program.process.send(order);
  }

  /** All messages of a kind from one worker, or from the primary, once there are `count` of them. */
  async told(worker: number, fact: Told['fact'], count = 1): Promise<Told[]> {
    for (;;) {
      const found = this.#told.filter((told) => told.worker === worker && told.fact === fact);
      if (found.length >= count) return found;
      await once(this.#program.process, 'message');
    }
  }

  /** Resolves with the process ids of the workers, when all of them are up. */
  async up(workers: number): Promise<number[]> {
    const ids = Array.from({ length: workers }, (_, index) => index + 1);
    return Promise.all(ids.map(async (id) => (await this.told(id, 'up'))[0]!.pid!));
  }
}

describe.each(['advanced', 'json'])('serialization %s', (serialization) => {
  test(`messages reach all workers intact and in order: ${serialization}`, async () => {
    const workers = new Workers(serialization, 3);
    await workers.up(3);
    const lengths = [0, 1, 256, 70_000, 1024 * 1024, 5];
    workers.order({ worker: 1, verb: 'publish', lengths });
    for (const worker of [1, 2, 3]) {
      const received = await workers.told(worker, 'received', lengths.length);
      expect(received.map(({ length, isIntact }) => [length, isIntact])).toEqual(
        lengths.map((length) => [length, true]),
      );
    }
  });

  test(`the other workers go on when a worker dies, disconnects or sends what cannot be cloned: ${serialization}`, async () => {
    const workers = new Workers(serialization, 4);
    const pids = await workers.up(4);
    process.kill(pids[0]!, 'SIGKILL');
    workers.order({ worker: 2, verb: 'disconnect' });
    workers.order({ worker: 3, verb: 'send what cannot be cloned' });
    // While the workers disconnect.
    workers.order({ worker: 4, verb: 'publish', lengths: new Array<number>(100).fill(10_000) });
    await Promise.all([workers.told(1, 'gone'), workers.told(2, 'gone'), workers.told(3, 'sent')]);
    workers.order({ worker: 3, verb: 'publish', lengths: [7] });
    for (const worker of [3, 4]) {
      const received = await workers.told(worker, 'received', 101);
      expect(received.every(({ isIntact }) => isIntact)).toBe(true);
      expect(received.filter(({ length }) => length === 7)).toHaveLength(1);
    }
  });

  test.skipIf(!hasSignals).each(['disconnect', 'close'] as const)(
    `a worker ends that disconnects while a message arrives (%s): ${serialization}`,
    async (verb) => {
      // Node waits for the rest of the message, drops it, and goes on waiting: such a worker never ended.
      const workers = new Workers(serialization, 2);
      const pids = await workers.up(2);
      process.kill(pids[0]!, 'SIGSTOP');
      workers.order({ worker: 1, verb });
      workers.order({ worker: 2, verb: 'publish', lengths: [1024 * 1024] });
      await workers.told(2, 'received');
      process.kill(pids[0]!, 'SIGCONT');
      await workers.told(1, 'gone');
    },
  );

  test.skipIf(!hasSignals)(
    `a flood to a suspended worker is dropped for that worker alone: ${serialization}`,
    async () => {
      const workers = new Workers(serialization, 3, 1_000_000);
      const pids = await workers.up(3);
      process.kill(pids[0]!, 'SIGSTOP');
      workers.order({ worker: 2, verb: 'publish', lengths: new Array<number>(50).fill(100_000) });
      await workers.told(2, 'sent');
      workers.order({ worker: 3, verb: 'publish', lengths: [3] });
      await workers.told(3, 'sent');
      await workers.told(2, 'received', 1);
      workers.order({ worker: 0, verb: 'report' });
      const [report] = await workers.told(0, 'report');
      expect(report!.dropped).toBeGreaterThan(0);
      process.kill(pids[0]!, 'SIGCONT');
      workers.order({ worker: 1, verb: 'publish', lengths: [9] });
      await workers.told(1, 'sent');
      const received = await workers.told(1, 'received', 1);
      expect(received.every(({ isIntact }) => isIntact)).toBe(true);
    },
  );
});
