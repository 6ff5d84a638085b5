import {
  CLIENT_CORE,
  maxOpenFiles,
  Remote,
  SERVER_CORE,
  settled,
  type Memory,
  type Started,
} from '@soketi/load/harness';
import type { Load } from './calls.js';
import type { Candidate } from './candidates/candidate.js';
import { CANDIDATES, type Subject } from './candidates/index.js';
import type { ClientCalls } from './clients.js';
import { deliveries, kindOf, type KindName } from './kinds.js';
import type { ServerCalls } from './server.js';
import type { ServerSettings } from './settings.js';

/** How long the server may take to see the last client, in ms. */
const CONNECTED_MS = 2_000;

export interface FleetSettings extends Omit<ServerSettings, 'module'> {
  readonly connections: number;
  /** Node options of the server process. */
  readonly serverArgs: readonly string[];
}

/** What a round has cost, or how much memory a server takes: values by metric. */
export type Sample = Readonly<Partial<Record<Measure, readonly number[]>>>;
export type Measure =
  | 'cpuNanosPerMessage'
  | 'bytesPerMessage'
  | 'messagesPerSecond'
  /** Of the core of the clients, 0-1. */
  | 'clientLoad'
  /** From the begin of each turn until the last client has all of it. */
  | 'latencyMicros'
  | 'heapBytes'
  | 'rssBytes'
  | 'nanosPerOperation';

/** One candidate's server in one process and its clients in another, connected. */
export class Fleet {
  readonly subject: Subject;
  readonly settings: FleetSettings;
  readonly #server: Remote<ServerCalls>;
  readonly #clients: Remote<ClientCalls>;
  #empty: Memory = { heapBytes: 0, rssBytes: 0 };
  #hasRooms = false;
  #position = 0;

  constructor(subject: Subject, settings: FleetSettings, started: Started) {
    this.subject = subject;
    this.settings = settings;
    const nodeArgs = ['--expose-gc', ...settings.serverArgs];
    const server = { args: [subject.candidate], core: SERVER_CORE, nodeArgs };
    // The clients end first: if the server ended first, they would report that they were disconnected.
    this.#clients = started(new Remote(new URL('clients.js', import.meta.url), { core: CLIENT_CORE }));
    this.#server = started(new Remote(new URL('server.js', import.meta.url), server));
  }

  async connect(): Promise<this> {
    const { connections, compression, isIndexed, reaction, rooms } = this.settings;
    if (maxOpenFiles() < connections + 100) {
      throw new Error(`${connections} connections need a higher limit of open files (ulimit -Hn)`);
    }
    const { name, candidate, module } = this.subject;
    const { isSocketIo = false }: Candidate = CANDIDATES[candidate];
    console.error(`  ${name}: connecting ${connections} clients`);
    const settings = { module, compression, isIndexed, reaction, rooms };
    const { hasRooms, ...address } = await this.#server.call('listen', settings);
    this.#hasRooms = hasRooms;
    this.#empty = await this.#server.call('memory');
    await this.#clients.call('connect', { ...address, connections, compression, isSocketIo });
    // The last connections may still be on their way through the hooks of the server.
    const connected = await settled(() => this.#server.call('connected'), connections, CONNECTED_MS);
    if (connected !== connections) throw new Error(`${name} sees ${connected} of ${connections} connections`);
    return this;
  }

  /** Whether its library has a call for each of the messages. */
  canSend(turn: readonly KindName[]): boolean {
    const { cannot = [] }: Candidate = CANDIDATES[this.subject.candidate];
    return turn.every((name) => !cannot.includes(name) && (this.#hasRooms || !kindOf(name).rooms));
  }

  async run(load: Omit<Load, 'base'>): Promise<Sample> {
    // Positions of messages continue from round to round.
    const positioned = { ...load, base: this.#position };
    this.#position += load.turns * load.turn.length;
    await this.#clients.call('arm', positioned);
    const [server, clients] = await Promise.all([
      this.#server.call('run', positioned),
      this.#clients.call('finish'),
    ]);
    const perTurn = load.turn.map((kind, at) => deliveries(kind, this.settings.connections, at));
    const messages = load.turns * perTurn.reduce((sum, count) => sum + count);
    const begunAtMs = [...server.begunAtMs, ...clients.begunAtMs];
    return {
      cpuNanosPerMessage: [(server.cpuMicros * 1000) / messages],
      bytesPerMessage: [clients.bytes / messages],
      messagesPerSecond: [(messages * 1000) / server.wallMs],
      clientLoad: [clients.cpuMicros / 1000 / clients.wallMs],
      latencyMicros: begunAtMs.map((atMs, turn) => ((clients.completedAtMs[turn] ?? NaN) - atMs) * 1000),
    };
  }

  /** Heap and resident set of the server, above what it had before anyone connected, per connection. */
  async weigh(): Promise<Sample> {
    const { heapBytes, rssBytes } = await this.#server.call('memory');
    const { connections } = this.settings;
    return {
      heapBytes: [(heapBytes - this.#empty.heapBytes) / connections],
      rssBytes: [(rssBytes - this.#empty.rssBytes) / connections],
    };
  }
}
