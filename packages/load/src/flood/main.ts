import {
  CLIENT_CORE,
  markdown,
  median,
  percentile,
  Remote,
  SERVER_CORE,
  withProcesses,
} from '../harness/index.js';
import { claim, count, limitTime, main, type Claim } from '../run.js';
import type { EchoCalls, FlooderCalls, FloodServerCalls, Reaction } from './calls.js';

const MESSAGES = 100_000;
/** An empty message is the cheapest for the client: the largest number of them fits into one read of the server. */
const SIZES = [64, 0] as const;
const REACTIONS: readonly Reaction[] = ['none', 'pause', 'drop', 'close'];
const ROUNDS = 5;
const ROUND_MS = 1_000;
const EVERY_MS = 5;
const MAX_CHANGE_MS = 20;
const MAX_RUN_MS = 240_000;

/** One round: how long each echo took, before and during the flood, in ms. */
interface Round {
  readonly calmMs: readonly number[];
  readonly floodMs: readonly number[];
}

interface Measured {
  readonly reaction: Reaction;
  readonly bytes: number;
  readonly rounds: readonly Round[];
  /** Messages of the floods that were delivered. */
  readonly delivered: number;
}

function measure(reaction: Reaction, bytes: number): Promise<Measured> {
  return withProcesses(async (started) => {
    const server = started(
      new Remote<FloodServerCalls>(new URL('server.js', import.meta.url), { core: SERVER_CORE }),
    );
    const options = { core: CLIENT_CORE };
    const flooder = started(new Remote<FlooderCalls>(new URL('flooder.js', import.meta.url), options));
    const echo = started(new Remote<EchoCalls>(new URL('echo.js', import.meta.url), options));
    const port = await server.call('listen', reaction);
    await echo.call('connect', port);
    const rounds: Round[] = [];
    let own = 0;
    // One more round that does not count: code that runs for the first time is slow.
    for (let round = 0; round <= ROUNDS; round++) {
      await flooder.call('connect', { port, messages: MESSAGES, bytes });
      const calmMs = await echo.call('measure', { ms: ROUND_MS, everyMs: EVERY_MS });
      const flooded = echo.call('measure', { ms: ROUND_MS, everyMs: EVERY_MS });
      await flooder.call('flood');
      const floodMs = await flooded;
      own += calmMs.length + floodMs.length;
      rounds.push({ calmMs, floodMs });
    }
    const delivered = (await server.call('echoed')) - own;
    return { reaction, bytes, rounds: rounds.slice(1), delivered: delivered / (ROUNDS + 1) };
  });
}

type Latencies = readonly number[];

const p50 = (ms: Latencies): number =>
  percentile(
    [...ms].sort((a, b) => a - b),
    0.5,
  );
const slowest = (ms: Latencies): number => Math.max(...ms);

/** The median of all rounds. */
function over({ rounds }: Measured, figure: (round: Round) => number): number {
  return median(rounds.map(figure));
}

const ms = (value: number): string => `${value.toFixed(1)} ms`;

async function run(): Promise<readonly Claim[]> {
  limitTime(MAX_RUN_MS);
  const all: Measured[] = [];
  for (const bytes of SIZES) {
    for (const reaction of REACTIONS) all.push(await measure(reaction, bytes));
  }
  console.log(
    markdown({
      title: `Echo of one client while another one sends ${count(MESSAGES)} messages`,
      notes: [
        `Medians of ${ROUNDS} rounds, one of them per second; the messages delivered are those of one flood.`,
      ],
      columns: ['flood', 'delivered', 'p50 before', 'p50', 'slowest before', 'slowest'],
      rows: all.map((measured) => [
        `${measured.bytes} B, ${measured.reaction}`,
        count(measured.delivered),
        ms(over(measured, ({ calmMs }) => p50(calmMs))),
        ms(over(measured, ({ floodMs }) => p50(floodMs))),
        ms(over(measured, ({ calmMs }) => slowest(calmMs))),
        ms(over(measured, ({ floodMs }) => slowest(floodMs))),
      ]),
    }),
  );
  return all
    .filter(({ reaction }) => reaction !== 'none')
    .map((measured) => {
      const { bytes, reaction } = measured;
      const change = over(measured, ({ calmMs, floodMs }) => slowest(floodMs) - slowest(calmMs));
      const text = `${bytes} B, ${reaction}: the slowest echo is less than ${MAX_CHANGE_MS} ms slower`;
      return claim(text, ms(change), change < MAX_CHANGE_MS);
    });
}

await main('flood', { isPinned: true }, run);
