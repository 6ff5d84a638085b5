import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import type { DrainTold } from '../support/draining-workers.js';
import { Program } from '../support/program.js';
import { hasSignals } from '../support/requires.js';
import { busiestSecond } from '../support/timed-pool.js';

/** Four processes have to start, and drain for six seconds. */
const TIMEOUT_MS = 90_000;
/** After this time the workers close their shares: before it, some did not know of the others yet. */
const AFTERMATH_MS = 1_250;

type Fact<Name extends DrainTold['fact']> = Extract<DrainTold, { fact: Name }>;

describe.skipIf(!hasSignals)('processes that drain at the same time', () => {
  test(
    'three workers that are told to stop at once share one rate, and then end',
    async () => {
      const [workers, connections, rate] = [3, 60, 30];
      const program = new Program('draining-workers', `${workers}`, `${connections}`, `${rate}`);
      const told: DrainTold[] = [];
      program.process.on('message', (message: DrainTold) => told.push(message));
      const all = async <Name extends DrainTold['fact']>(name: Name): Promise<Fact<Name>[]> => {
        for (;;) {
          const found = told.filter((one): one is Fact<Name> => one.fact === name);
          if (found.length === workers) return found;
          await once(program.process, 'message');
        }
      };
      for (const { pid } of await all('up')) process.kill(pid, 'SIGTERM');
      const drained = await all('drained');
      for (const { closed } of drained) expect(closed).toBe(connections);
      const knownAtMs = Math.max(...drained.map((one) => one.knownAtMs));
      const closesMs = drained.flatMap((one) => one.closesMs);
      const shared = closesMs.filter((atMs) => atMs >= knownAtMs + AFTERMATH_MS);
      expect(shared.length).toBeGreaterThan(0);
      expect(busiestSecond(shared)).toBeLessThanOrEqual(rate);
      expect((await all('gone')).map(({ status }) => status)).toEqual([0, 0, 0]);
    },
    TIMEOUT_MS,
  );
});
