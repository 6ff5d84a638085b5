import { describe, expect, test } from 'vitest';
import type { ServerOptions } from 'ws';
import { Loopback } from '../support/loopback.js';
import type { Random } from '../support/random.js';
import { RoomModel, type RoomModelOptions } from '../support/room-model.js';
import { runs } from '../support/runs.js';

/** How many seeds each mode and each situation is tried with. */
const SEEDS = runs({ quick: 1, ci: 2 }, 'CONNECTIONS_TEST_SEEDS');
const FIRST_SEED = Number(process.env['CONNECTIONS_TEST_FIRST_SEED'] ?? 1);
const seeds = Array.from({ length: SEEDS }, (_, i) => FIRST_SEED + i);

const anyWindow = (random: Random): { perMessageDeflate: object | false } => ({
  perMessageDeflate: random.chance(0.8) && { serverMaxWindowBits: 9 + random.below(7) },
});

type Mode = Pick<RoomModelOptions, 'clientOptions' | 'hasHistory'> & { readonly server: ServerOptions };

const modes: Record<string, Mode> = {
  'without compression': { server: {} },
  'with shared compression': {
    server: { perMessageDeflate: { serverNoContextTakeover: true, threshold: 0 } },
    clientOptions: anyWindow,
  },
  'with context takeover': { server: { perMessageDeflate: { threshold: 0 } }, clientOptions: anyWindow },
  'with shared history': {
    server: { perMessageDeflate: { threshold: 0 } },
    clientOptions: anyWindow,
    hasHistory: true,
  },
};

const MAX_BUFFERED_BYTES = 30_000;

const situations: Record<string, Partial<RoomModelOptions>> = {
  'although some read slowly': {},
  'although listeners and handlers make calls': { isReentrant: true },
  'although flushes stop in the middle': {
    isSliced: true,
    crowd: 40,
    kinds: ['ws', 'ws', 'ws', 'ws', 'ws', 'wrapper', 'override', 'handlers'],
  },
  'before a drain': { isReentrant: true, isDrained: true },
  'although slow readers lose some': { maxBufferedBytes: MAX_BUFFERED_BYTES, isReentrant: true },
  'although a policy decides about slow readers': {
    maxBufferedBytes: MAX_BUFFERED_BYTES,
    hasPolicy: true,
    isReentrant: true,
    isDrained: true,
  },
};

describe.each(Object.entries(modes))('%s', (mode, { server, ...options }) => {
  describe.each(Object.entries(situations))('%s', (situation, moreOptions) => {
    test.each(seeds)(
      `members of rooms receive exactly their messages and latest values ${mode}, ${situation} (seed %i)`,
      async (seed) => {
        const loopback = await Loopback.start(server);
        const model = new RoomModel({ seed, loopback, ...options, ...moreOptions });
        await model.run();
        if (moreOptions.isSliced) expect(model.slices()).toBeGreaterThan(0);
      },
    );
  });
});
