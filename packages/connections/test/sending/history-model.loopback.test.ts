import { test } from 'vitest';
import type * as ws from 'ws';
import { HistoryModel, modelOptions } from '../support/history-model.js';
import { Loopback } from '../support/loopback.js';
import { runs } from '../support/runs.js';

/** Random steps; a soak takes 50,000. */
const STEPS = runs({ quick: 600, ci: 2_000 }, 'CONNECTIONS_HISTORY_STEPS');
const STEPS_PER_SEED = 100;

const SERVERS: ws.PerMessageDeflateOptions[] = [
  { threshold: 0 },
  {},
  { threshold: 100, zlibDeflateOptions: { level: 1, memLevel: 5 } },
  { threshold: 0, zlibDeflateOptions: { level: 9 }, concurrencyLimit: 2 },
];

const seeds = Array.from({ length: Math.ceil(STEPS / STEPS_PER_SEED) }, (_, seed) => seed);

test.each(seeds)(
  'every client receives exactly its messages while clients join, leave, are excepted, slow, sent to or closed (seed %i)',
  async (seed) => {
    const loopback = await Loopback.start({ perMessageDeflate: SERVERS[seed % SERVERS.length]! });
    await new HistoryModel({ ...modelOptions(seed), loopback, steps: STEPS_PER_SEED }).run();
  },
);
