import { answer, nowMs } from '@soketi/load/harness';
import { connect, createServer, type Socket } from 'node:net';
import { listen } from '../candidates/candidate.js';
import type { NodeCost, NodeSettings, Published, RelayLoad } from './calls.js';
import { EXCEPTED, TAKER, type Member, type RelayNode } from './candidates/candidate.js';
import { RELAY_CANDIDATES } from './candidates/index.js';
import { Payloads } from './payloads.js';

/** A round is stuck if no message arrives for this long, in ms. */
const STALL_MS = 15_000;
const PROBE = 'probe';

/** A round, as its publisher sees it. */
interface Publishing {
  readonly load: RelayLoad;
  readonly payloads: Payloads;
  readonly finish: () => void;
  readonly begunAtMs: number[];
  begun: number;
  isScheduled: boolean;
}

/** A round, as its receiver sees it. */
interface Receiving {
  readonly messages: number;
  readonly messagesPerAck: number;
  readonly payloads: Payloads;
  readonly finish: () => void;
  received: number;
}

/** The process of one node. One publishes, another one receives. Whatever goes wrong ends it, and with it the run. */
let node: RelayNode;
/** The channel to the publisher for acknowledgements, beside what is measured. */
let control: Socket;
/** Turns that each receiver has acknowledged in this round. */
const acknowledged = new Map<Socket, number>();
let publishing: Publishing | undefined;
let receiving: Receiving | undefined;
let received: Promise<NodeCost>;
let hasHeard = false;
let hasExcepted = false;

/** Not an exception: the candidate decides what happens to one in a member. */
function fail(message: string): never {
  console.error(message);
  process.exit(1);
}

const taker: Member = {
  take(message) {
    const round = receiving;
    if (round === undefined) onProbe(message);
    else if (round.payloads.isAt(round.received, message)) onReceived(round, 1);
    else fail(`Message ${round.received} is not what was sent: ${String(message).slice(0, 80)}`);
  },
  takeFrames(bytes) {
    const round = receiving;
    if (round === undefined) onProbe(bytes.subarray(2));
    else if (round.payloads.areFramesAt(round.received, bytes))
      onReceived(round, round.payloads.framesIn(bytes));
    else fail(`After ${round.received} messages came what was not sent: ${String(bytes.subarray(0, 80))}`);
  },
};

const excepted: Member = {
  take: (message) => fail(`The exception got ${String(message).slice(0, 80)}`),
  takeFrames: (bytes) => fail(`The exception got ${String(bytes.subarray(0, 80))}`),
};

function onProbe(message: string | Uint8Array): void {
  if (Buffer.from(message).toString() !== PROBE)
    fail(`Outside of a round came ${String(message).slice(0, 80)}`);
  hasHeard = true;
}

function onReceived(round: Receiving, messages: number): void {
  const before = Math.floor(round.received / round.messagesPerAck);
  round.received += messages;
  const more = Math.floor(round.received / round.messagesPerAck) - before;
  if (more > 0) control.write(Buffer.alloc(more));
  if (round.received === round.messages) round.finish();
}

function onControl(socket: Socket): void {
  acknowledged.set(socket, 0);
  socket
    .on('error', () => process.exit(1))
    .on('data', ({ length }) => {
      const round = publishing;
      if (round === undefined) throw new Error('Acknowledged although nothing is running');
      acknowledged.set(socket, (acknowledged.get(socket) ?? 0) + length * round.load.turnsPerAck);
      if (leastAcknowledged() >= round.load.turns) round.finish();
      else schedule(round);
    });
}

const leastAcknowledged = (): number => Math.min(...acknowledged.values());

/** Each turn is its own phase of the event loop. */
function schedule(round: Publishing): void {
  const { turns, window, gapMs } = round.load;
  if (round.isScheduled || round.begun === turns || round.begun - leastAcknowledged() >= window) return;
  round.isScheduled = true;
  if (gapMs > 0) setTimeout(publishTurn, gapMs, round);
  else setImmediate(publishTurn, round);
}

function publishTurn(round: Publishing): void {
  const { perTurn, hasException, gapMs } = round.load;
  const first = perTurn * round.begun++;
  round.isScheduled = false;
  if (gapMs > 0) round.begunAtMs.push(nowMs());
  for (let index = 0; index < perTurn; index++) {
    node.broadcast(round.payloads.at(first + index), hasException ? EXCEPTED : undefined);
  }
  schedule(round);
}

/** A second collection moves prepared objects out of the way of later collections. */
function collectGarbage(): void {
  globalThis.gc?.({ type: 'minor', execution: 'sync' });
  globalThis.gc?.({ type: 'minor', execution: 'sync' });
}

/** CPU time until the action has called back. */
async function costOf(action: (finish: () => void) => void): Promise<NodeCost> {
  const [startedAtMs, cpu] = [nowMs(), process.cpuUsage()];
  await new Promise<void>(action);
  const { user, system } = process.cpuUsage(cpu);
  return { cpuMicros: user + system, wallMs: nowMs() - startedAtMs };
}

const calls = {
  /** Joins as a publisher. @returns the port for acknowledgements */
  async joinToPublish(settings: NodeSettings): Promise<number> {
    node = await RELAY_CANDIDATES[settings.candidate].join(settings);
    return listen(createServer({ noDelay: true }, onControl));
  },

  /** Joins with a member that takes what is published. */
  async joinToReceive(settings: NodeSettings, controlPort: number): Promise<void> {
    control = connect({ port: controlPort, host: '127.0.0.1', noDelay: true });
    node = await RELAY_CANDIDATES[settings.candidate].join(settings);
    await node.addMember(TAKER, taker);
  },

  /** Joins as a node whose members are the clients of its server. */
  async joinToServe(settings: NodeSettings): Promise<void> {
    node = await RELAY_CANDIDATES[settings.candidate].join(settings);
  },

  /** @returns the port of its server */
  serve: async (): Promise<number> => (await node.listen?.()) ?? NaN,

  connected: (): number => node.connected?.() ?? NaN,

  /** CPU time so far, in µs. */
  cpuMicros(): number {
    const { user, system } = process.cpuUsage();
    return user + system;
  },

  /** Not every candidate reports when it is subscribed. */
  probe: (): void => node.broadcast(PROBE),
  hasHeard: (): boolean => hasHeard,

  /** Publishes a round. Resolves when all of it is acknowledged. */
  async publish(load: RelayLoad): Promise<Published> {
    const payloads = new Payloads(load);
    const begunAtMs: number[] = [];
    for (const socket of acknowledged.keys()) acknowledged.set(socket, 0);
    collectGarbage();
    const cost = await costOf((finish) => {
      publishing = { load, payloads, begunAtMs, finish, begun: 0, isScheduled: false };
      schedule(publishing);
    });
    publishing = undefined;
    return { ...cost, begunAtMs };
  },

  /** Gets ready for a round. Rounds with exceptions come last: they need a second member. */
  async arm(load: RelayLoad): Promise<void> {
    const { turns, turnsPerAck, perTurn } = load;
    const payloads = new Payloads(load);
    if (load.hasException && !hasExcepted) {
      hasExcepted = true;
      await node.addMember(EXCEPTED, excepted);
    }
    collectGarbage();
    received = costOf((finish) => {
      receiving = {
        messages: turns * perTurn,
        messagesPerAck: turnsPerAck * perTurn,
        payloads,
        finish,
        received: 0,
      };
    });
  },

  /** Resolves when all of the round has arrived and was checked. */
  async finish(): Promise<NodeCost> {
    let seen = -1;
    const timer = setInterval(() => {
      const now = receiving?.received ?? NaN;
      if (now === seen)
        throw new Error(`The round is stuck: ${now} of ${receiving?.messages ?? NaN} messages have come`);
      seen = now;
    }, STALL_MS);
    const cost = await received;
    clearInterval(timer);
    receiving = undefined;
    return cost;
  },
};
export type NodeCalls = typeof calls;

process.on('uncaughtException', (error) => {
  console.error(error.message);
  process.exit(1);
});
answer(calls);
// A primary loses messages to a worker that does not listen yet.
process.send?.('ready');
