import { answer, nowMs } from '@soketi/load/harness';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Load, Seen } from './calls.js';
import { openClient } from './client-socket.js';
import { maskedTextFrame } from './frames.js';
import { kindOf } from './kinds.js';
import { Texts } from './messages.js';
import type { ClientSettings } from './settings.js';
import { Inflater, knownStreams, LearnedStream, type Stream, type Wrap } from './streams.js';

/** Handshakes under way at a time: below any backlog. */
const MAX_HANDSHAKES = 200;
/** A round is stuck if no byte or complete turn arrives for this long, in ms. */
const STALL_MS = 15_000;
/** Long enough for a surplus message to arrive, in ms. */
const LINGER_MS = 5;
const ACKNOWLEDGEMENT = Buffer.of(1);

/** The running round. */
interface Round {
  readonly load: Load;
  readonly learned: LearnedStream | undefined;
  /** What each client must receive, and how far it has come. */
  readonly progress: readonly { readonly stream: Stream; offset: number; turn: number }[];
  /** Clients that have completed each turn. */
  readonly counts: number[];
  /** What each client writes in each turn; empty where the server begins. */
  readonly writes: readonly (readonly Buffer[])[];
  readonly begunAtMs: number[];
  readonly completedAtMs: number[];
  completed: number;
  bytes: number;
  start: { readonly atMs: number; readonly cpu: NodeJS.CpuUsage } | undefined;
  readonly end: (cost: Cost) => void;
}

interface Cost {
  readonly cpuMicros: number;
  readonly wallMs: number;
}

/** The process of all clients of one candidate. Whatever goes wrong ends it, and with it the run. */
const clients: Socket[] = [];
/** The channel to the server process, beside the measured connections. */
let control: Socket;
let wrap: Wrap = (text) => text;
let inflater: Inflater | undefined;
let current: Round | undefined;
let finished: Promise<Cost>;

function theRound(): Round {
  if (!current) throw new Error('Something was received outside of a round');
  return current;
}

function onData(id: number, chunk: Buffer, length: number): void {
  const round = theRound();
  startClock(round);
  round.bytes += length;
  const client = round.progress[id];
  if (!client?.stream.takes(client.offset, chunk, length)) {
    const got = chunk.toString('latin1', 0, Math.min(length, 200));
    throw new Error(`Client ${id} did not receive what was sent, after ${client?.offset ?? 0} bytes: ${got}`);
  }
  client.offset += length;
  completeTurnsOf(client, round);
}

/** The server is ready for what the clients send, or it has received a whole turn that nobody else receives. */
function onControl(round: Round): void {
  if (round.start) completeTurn(round);
  else beginTurn(round);
}

function completeTurnsOf(client: Round['progress'][number], round: Round): void {
  while (client.offset >= (client.stream.turnEnds[client.turn] ?? Infinity)) {
    const count = (round.counts[client.turn] ?? 0) + 1;
    round.counts[client.turn++] = count;
    if (count === clients.length) completeTurn(round);
  }
}

function beginTurn(round: Round): void {
  startClock(round);
  if (round.load.gapMs > 0) round.begunAtMs.push(nowMs());
  round.writes[round.completed]?.forEach((bytes, id) => clients[id]?.write(bytes));
}

function completeTurn(round: Round): void {
  const { turns, turnsPerAck, gapMs } = round.load;
  const completed = ++round.completed;
  if (gapMs > 0) round.completedAtMs.push(nowMs());
  if (completed === turns) stopClock(round);
  if (completed % turnsPerAck === 0) control.write(ACKNOWLEDGEMENT);
  if (completed === turns || round.writes.length === 0) return;
  if (gapMs > 0) setTimeout(beginTurn, gapMs, round);
  else beginTurn(round);
}

function startClock(round: Round): void {
  round.start ??= { atMs: performance.now(), cpu: process.cpuUsage() };
}

function stopClock(round: Round): void {
  const { user, system } = process.cpuUsage(round.start?.cpu);
  round.end({ cpuMicros: user + system, wallMs: performance.now() - (round.start?.atMs ?? NaN) });
}

/** For each turn, what the first client writes, then the second one, and so on. */
function prepareWrites(load: Load): Buffer[][] {
  const kinds = load.turn.map(kindOf);
  if (kinds.some(({ from }) => from === 'server')) return [];
  const texts = new Texts(load);
  const frame = (position: number, id?: number): Buffer => maskedTextFrame(wrap(texts.at(position, id)));
  return Array.from({ length: load.turns }, (_, turn) => {
    const first = load.base + turn * kinds.length;
    if (kinds.some(({ from }) => from === 'client')) return kinds.map((_kind, index) => frame(first + index));
    return clients.map((_client, id) =>
      Buffer.concat(kinds.map(({ isAddressed }, at) => frame(first + at, isAddressed ? id : undefined))),
    );
  });
}

const calls = {
  async connect(settings: ClientSettings): Promise<void> {
    // Engine.IO message, Socket.IO event.
    if (settings.isSocketIo) wrap = (text) => `42${JSON.stringify(['m', text])}`;
    if (settings.compression !== 'none') inflater = new Inflater();
    control = connect({ port: settings.controlPort, host: '127.0.0.1', noDelay: true });
    control.on('data', ({ length }) => {
      for (let times = 0; times < length; times++) onControl(theRound());
    });
    while (clients.length < settings.connections) {
      const length = Math.min(MAX_HANDSHAKES, settings.connections - clients.length);
      const ids = Array.from({ length }, (_, index) => clients.length + index);
      clients.push(...(await Promise.all(ids.map((id) => openClient(id, settings, onData)))));
    }
  },

  /** Gets ready for a round. */
  arm(load: Load): void {
    if (current) throw new Error('The last round is not finished');
    const learned = inflater || load.turn.includes('relayed') ? new LearnedStream(load) : undefined;
    const streams = learned ? clients.map(() => learned) : knownStreams(load, clients.length, wrap);
    const progress = streams.map((stream) => ({ stream, offset: 0, turn: 0 }));
    const lists = { counts: [], begunAtMs: [], completedAtMs: [], writes: prepareWrites(load) };
    finished = new Promise((end) => {
      current = { load, progress, learned, ...lists, completed: 0, bytes: 0, start: undefined, end };
    });
    for (const client of progress) completeTurnsOf(client, theRound());
  },

  /** Resolves when all of the round has arrived and was checked. */
  async finish(): Promise<Seen & { readonly completedAtMs: readonly number[]; readonly bytes: number }> {
    const round = theRound();
    let seen = '';
    const timer = setInterval(() => {
      const now = `${round.bytes} bytes have arrived, ${round.completed} of ${round.load.turns} turns are complete`;
      if (now === seen) throw new Error(`The round is stuck: ${now}`);
      seen = now;
    }, STALL_MS);
    const cost = await finished;
    clearInterval(timer);
    await delay(LINGER_MS);
    current = undefined;
    round.learned?.check(wrap, inflater);
    const { begunAtMs, completedAtMs, bytes } = round;
    return { ...cost, begunAtMs, completedAtMs, bytes };
  },
};
export type ClientCalls = typeof calls;

process.on('uncaughtException', ({ message }) => {
  console.error(message);
  process.exit(1);
});
answer(calls);
