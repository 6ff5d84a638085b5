import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Burst, ClientRound, ClientSettings, Load } from '../load.js';
import { Texts } from '../messages.js';
import { anyOrder, compressedInOrder, inOrder, type Wrap } from './checks.js';
import { ClientSocket } from './client-socket.js';
import { maskedTextFrame } from './frames.js';
import { Inflater } from './inflater.js';
import { OwnStreams } from './own-streams.js';
import { TurnCounter, type Receiver } from './receiver.js';
import { SameStream } from './same-stream.js';

/** Handshakes under way at a time: below any backlog. */
const MAX_HANDSHAKES = 200;
/** Between two bursts, for the server to come to rest, in ms. */
const BURST_GAP_MS = 20;
/** Without a single turn complete for that long, a round is stuck, in ms. */
const STALL_MS = 15_000;
/** Long enough for a message too many to arrive, in ms. */
const LINGER_MS = 5;

const ACKNOWLEDGEMENT = Buffer.of(1);

const WRAPS: Record<ClientSettings['protocol'], Wrap> = {
  websocket: (text) => text,
  // Engine.IO message, Socket.IO event.
  'socket.io': (text) => `42${JSON.stringify(['m', text])}`,
};

/** A round under way. */
interface Round {
  readonly receiver: Receiver;
  readonly turns: number;
  readonly latencies: readonly number[];
  readonly done: Promise<void>;
  readonly messages: number;
  onDone: () => void;
  bytes: number;
  startedAt: number;
  cpuAtStart: NodeJS.CpuUsage | undefined;
  cpu: NodeJS.CpuUsage;
  wallMs: number;
}

/** All clients of one server, and the rounds that they go through. */
export class Session {
  #clients: ClientSocket[] = [];
  #control: Socket | undefined;
  #wrap: Wrap = WRAPS.websocket;
  #inflater: Inflater | undefined;
  #round: Round | undefined;

  async connect(settings: ClientSettings): Promise<void> {
    this.#wrap = WRAPS[settings.protocol];
    if (settings.compression !== 'none') this.#inflater = new Inflater();
    this.#control = connect({ port: settings.controlPort, host: '127.0.0.1', noDelay: true });
    await once(this.#control, 'connect');
    const onData = this.#onData.bind(this);
    for (let id = 0; id < settings.connections; id += MAX_HANDSHAKES) {
      const length = Math.min(MAX_HANDSHAKES, settings.connections - id);
      const batch = Array.from({ length }, (_, index) => ClientSocket.open(id + index, settings, onData));
      this.#clients.push(...(await Promise.all(batch)));
    }
  }

  arm(load: Load): void {
    const latencies: number[] = [];
    const counter = this.#count(load.gapMs > 0, (turns) => {
      if (turns === load.turns) this.#finishRound();
      if (turns % load.turnsPerAck === 0) this.#control?.write(ACKNOWLEDGEMENT);
    });
    const isSame = load.exceptions === 0 && !load.pattern.includes('p');
    const check = this.#inflater
      ? compressedInOrder(load, this.#wrap, this.#inflater)
      : inOrder(load, this.#wrap, counter.completedAt, latencies);
    const receiver = isSame
      ? new SameStream(counter, load.pattern.length, check)
      : new OwnStreams(load, this.#clients, counter, this.#wrap);
    const messages = load.turns * this.#messagesPerTurn(load);
    this.#startRound(receiver, load.turns, latencies, messages);
  }

  async finish(): Promise<ClientRound> {
    const round = this.#round;
    if (round === undefined) throw new Error('No round to finish');
    await this.#untilDone(round);
    await delay(LINGER_MS);
    this.#round = undefined;
    await round.receiver.verify();
    const { user, system } = round.cpu;
    const { wallMs, bytes, messages, latencies } = round;
    return { cpuMicros: user + system, wallMs, messages, bytes, latenciesMicros: latencies };
  }

  async burst(burst: Burst): Promise<ClientRound> {
    const latencies: number[] = [];
    let onTurn = (): void => undefined;
    const counter = this.#count(true, (turns) => {
      if (turns === burst.times) this.#finishRound();
      onTurn();
    });
    const receiver = new SameStream(counter, burst.senders, anyOrder(burst, this.#wrap));
    const messages = burst.times * burst.senders * this.#clients.length;
    const round = this.#startRound(receiver, burst.times, latencies, messages);
    const send = async (): Promise<void> => {
      const texts = new Texts({ kind: 'text', bytes: burst.bytes });
      for (let time = 0; time < burst.times; time++) {
        const first = burst.base + time * burst.senders;
        const frames = Array.from({ length: burst.senders }, (_, index) =>
          maskedTextFrame(this.#wrap(texts.at(first + index))),
        );
        const received = new Promise<void>((resolve) => (onTurn = resolve));
        const sentAt = process.hrtime.bigint();
        frames.forEach((frame, index) => this.#clients[index]?.write(frame));
        await received;
        latencies.push(Number((counter.completedAt[time] ?? 0n) - sentAt) / 1000);
        await delay(BURST_GAP_MS);
      }
    };
    await Promise.all([send(), this.#untilDone(round)]);
    return this.finish();
  }

  #count(isTimed: boolean, onTurn: (turns: number) => void): TurnCounter {
    for (const client of this.#clients) client.offset = client.turn = 0;
    return new TurnCounter(this.#clients.length, isTimed, onTurn);
  }

  #messagesPerTurn({ pattern, exceptions }: Load): number {
    return pattern.length * (this.#clients.length - exceptions);
  }

  #startRound(receiver: Receiver, turns: number, latencies: number[], messages: number): Round {
    if (this.#round !== undefined) throw new Error('The last round is not finished');
    let onDone = (): void => undefined;
    const done = new Promise<void>((resolve) => (onDone = resolve));
    const cpu = { user: 0, system: 0 };
    const unmeasured = { bytes: 0, startedAt: 0, cpuAtStart: undefined, cpu, wallMs: 0 };
    return (this.#round = { receiver, turns, latencies, messages, done, onDone, ...unmeasured });
  }

  /** From the first byte to the last: what is checked afterwards is not in it. */
  #finishRound(): void {
    const round = this.#round;
    if (round === undefined) return;
    round.wallMs = performance.now() - round.startedAt;
    round.cpu = process.cpuUsage(round.cpuAtStart);
    round.onDone();
  }

  #onData(client: ClientSocket, buffer: Buffer, length: number): void {
    try {
      const round = this.#round;
      if (round === undefined) throw new Error(`Client ${client.id} received ${length} bytes out of turn`);
      if (round.cpuAtStart === undefined) {
        round.startedAt = performance.now();
        round.cpuAtStart = process.cpuUsage();
      }
      round.bytes += length;
      round.receiver.receive(client, buffer, length);
    } catch (error) {
      // A wrong count or content ends everything: the parent notices that this process has gone.
      console.error(error instanceof Error ? error.message : error);
      process.exit(1);
    }
  }

  async #untilDone(round: Round): Promise<void> {
    let seen = '';
    const timer = setInterval(() => {
      const now = round.receiver.describe();
      if (now === seen) {
        console.error(`The round is stuck: ${now}`);
        process.exit(1);
      }
      seen = now;
    }, STALL_MS);
    await round.done;
    clearInterval(timer);
  }
}
