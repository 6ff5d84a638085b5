import { describe, expect, test } from 'vitest';
import type { ServerOptions } from 'ws';
import { BroadcastModel, INSIDE } from '../support/broadcast-model.js';
import { Loopback } from '../support/loopback.js';
import type { Random } from '../support/random.js';
import { runs } from '../support/runs.js';

/** How many seeds each mode is tried with. */
const SEEDS = runs({ quick: 1, ci: 2 }, 'CONNECTIONS_TEST_SEEDS');
const FIRST_SEED = Number(process.env['CONNECTIONS_TEST_FIRST_SEED'] ?? 1);
const seeds = Array.from({ length: SEEDS }, (_, i) => FIRST_SEED + i);

const anyWindow = (random: Random): { serverMaxWindowBits: number } => ({
  serverMaxWindowBits: 9 + random.below(7),
});

/** Clients of every kind in one namespace. */
function anyAgreement(random: Random): { perMessageDeflate: object | false } {
  if (random.chance(0.3)) return { perMessageDeflate: false };
  return { perMessageDeflate: { serverNoContextTakeover: random.chance(0.5), ...anyWindow(random) } };
}

const modes: Record<string, { server: ServerOptions; client?: (random: Random) => object }> = {
  'without compression': { server: {} },
  'with shared compression': {
    server: { perMessageDeflate: { serverNoContextTakeover: true, threshold: 0 } },
    client: (random) => ({ perMessageDeflate: anyWindow(random) }),
  },
  'with shared compression above a threshold': {
    server: { perMessageDeflate: { serverNoContextTakeover: true, threshold: 1024 } },
    client: (random) => ({ perMessageDeflate: random.chance(0.5) ? anyWindow(random) : {} }),
  },
  'with context takeover': {
    server: { perMessageDeflate: { threshold: 0 } },
    client: (random) => ({ perMessageDeflate: anyWindow(random) }),
  },
  'with an agreement of its own for each client': {
    server: { perMessageDeflate: { threshold: 100 } },
    client: anyAgreement,
  },
};

describe.each(Object.entries(modes))('%s', (name, { server, client }) => {
  const clientOptions = client && { clientOptions: client };

  test.each(seeds)(
    `every client receives exactly its messages ${name}, in the order of the calls (seed %i)`,
    async (seed) => {
      const loopback = await Loopback.start(server);
      await new BroadcastModel({ seed, loopback, ...clientOptions }).run();
    },
  );

  test.each(seeds)(
    `sends of the owner on the raw socket do not disturb the order ${name} (seed %i)`,
    async (seed) => {
      const loopback = await Loopback.start(server);
      await new BroadcastModel({ seed, loopback, isRaw: true, ...clientOptions }).run();
    },
  );

  test.each(seeds)(
    `every client receives exactly its messages ${name}, although flushes stop in the middle (seed %i)`,
    async (seed) => {
      const loopback = await Loopback.start(server);
      const model = new BroadcastModel({ seed, loopback, crowd: 40, operations: 60, ...clientOptions });
      await model.run();
      expect(model.slices).toBeGreaterThan(0);
      expect([...model.doneInside]).toEqual(expect.arrayContaining([...INSIDE]));
    },
  );
});
