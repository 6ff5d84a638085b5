import { answer, memoryAtRest, nowMs } from '@soketi/load/harness';
import { createServer, type Socket } from 'node:net';
import type { Load, Seen } from './calls.js';
import { listen, type StartSettings } from './candidates/candidate.js';
import { CANDIDATES, type CandidateName } from './candidates/index.js';
import type { Server } from './candidates/server.js';
import { kindOf } from './kinds.js';
import { Texts } from './messages.js';
import type { Reaction, ServerSettings } from './settings.js';

interface Run {
  readonly load: Load;
  /** The calls of each turn, prepared before the clock starts; none where clients begin. */
  readonly turns: readonly (() => void)[];
  /** Texts that every client sends, if nobody but this process receives them. */
  readonly inbound: readonly string[];
  readonly inboundPerTurn: number;
  readonly begunAtMs: number[];
  readonly finish: () => void;
  begun: number;
  acknowledged: number;
  received: number;
  isScheduled: boolean;
}

/**
 * The server process of one candidate: `node server.js NAME`. Makes the calls of one turn after the other in one phase
 * of the event loop each, and waits for the clients when it is too far ahead of them: waiting costs no CPU.
 */
const name = process.argv[2] as CandidateName;
let server: Server;
/** The clients write one byte for each acknowledgement, and are written one when they may begin a turn. */
let control: Socket;
let current: Run | undefined;

const letClientsBegin = (): boolean => control.write('\n');

const REACTIONS: Record<Reaction, NonNullable<StartSettings['accept']>> = {
  broadcast: () => (text) => server.broadcast(text),
  echo: (peer) => (text) => void peer.send(text),
  count: () => {
    let position = 0;
    return (text) => countInbound(text, position++);
  },
};

function countInbound(text: string, position: number): void {
  const run = current;
  if (text !== run?.inbound[position - run.load.base]) {
    // Not an exception: the candidate decides what happens to one in a listener.
    console.error(`The server received ${text} as message ${position}`);
    process.exit(1);
  }
  if (++run.received % run.inboundPerTurn === 0) letClientsBegin();
}

function onAcknowledged(times: number): void {
  const run = current;
  if (run === undefined) throw new Error('Acknowledged although nothing is running');
  run.acknowledged += times * run.load.turnsPerAck;
  if (run.acknowledged >= run.load.turns) {
    current = undefined;
    run.finish();
  } else if (run.load.gapMs === 0 && !run.isScheduled && mayGoOn(run)) {
    // A server is called like this: directly from the poll phase.
    callTurn(run);
  } else {
    scheduleTurn(run);
  }
}

function mayGoOn({ begun, acknowledged, turns, load }: Run): boolean {
  return begun < turns.length && begun - acknowledged < load.window;
}

/** In another phase of the loop. */
function scheduleTurn(run: Run): void {
  if (run.isScheduled || !mayGoOn(run)) return;
  run.isScheduled = true;
  if (run.load.gapMs > 0) setTimeout(callTurn, run.load.gapMs, run);
  else setImmediate(callTurn, run);
}

function callTurn(run: Run): void {
  run.isScheduled = false;
  if (run.load.gapMs > 0) run.begunAtMs.push(nowMs());
  run.turns[run.begun++]?.();
  scheduleTurn(run);
}

function prepareTurn({ base, turn }: Load, index: number, texts: Texts): () => void {
  const first = base + index * turn.length;
  if (server.prepareTurn) return server.prepareTurn(turn.map((_, at) => texts.at(first + at)));
  const calls = turn.map((kind, at) => kindOf(kind).prepare?.(server, texts, first + at));
  return () => calls.forEach((call) => call?.());
}

async function run(load: Load): Promise<Seen> {
  const texts = new Texts(load);
  const kinds = load.turn.map(kindOf);
  const messages = kinds.some(({ reaction }) => reaction === 'count') ? load.turns * kinds.length : 0;
  const inbound = Array.from({ length: messages }, (_, index) => texts.at(load.base + index));
  const length = kinds.some(({ from }) => from === 'server') ? load.turns : 0;
  const turns = Array.from({ length }, (_, index) => prepareTurn(load, index, texts));
  const inboundPerTurn = kinds.length * server.connected();
  const begunAtMs: number[] = [];
  // A second collection moves prepared objects out of the way of later ones. It is not a full one: V8 would then start
  // the round with its smallest young generation, which no running server has.
  globalThis.gc?.({ type: 'minor', execution: 'sync' });
  globalThis.gc?.({ type: 'minor', execution: 'sync' });
  const startedAt = performance.now();
  const cpuAtStart = process.cpuUsage();
  await new Promise<void>((finish) => {
    const counts = { begun: 0, acknowledged: 0, received: 0, isScheduled: false };
    current = { load, turns, inbound, inboundPerTurn, begunAtMs, finish, ...counts };
    if (turns.length > 0) scheduleTurn(current);
    else letClientsBegin();
  });
  const { user, system } = process.cpuUsage(cpuAtStart);
  return { cpuMicros: user + system, wallMs: performance.now() - startedAt, begunAtMs };
}

const calls = {
  async listen({ reaction, ...settings }: ServerSettings) {
    server = await CANDIDATES[name].start({ ...settings, accept: reaction && REACTIONS[reaction] });
    const controlServer = createServer({ noDelay: true }, (socket) => {
      control = socket.on('data', ({ length }) => onAcknowledged(length)).on('error', () => process.exit(1));
    });
    const hasRooms = server.broadcastTo !== undefined;
    return { port: server.port, controlPort: await listen(controlServer), hasRooms };
  },
  connected: () => server.connected(),
  run,
  memory: memoryAtRest,
};
export type ServerCalls = typeof calls;

answer(calls);
