import { setTimeout as delay } from 'node:timers/promises';
import { entryOf, type CandidateName } from './candidates/index.js';
import type { Burst, ClientCalls, ClientRound, Load, Memory, ServerCalls, ServerSettings } from './load.js';
import { CLIENT_CORE, SERVER_CORE } from './machine.js';
import { Remote } from './rpc.js';

export interface FleetSettings extends Partial<ServerSettings> {
  readonly connections: number;
  /** Its memory is going to be asked for. */
  readonly isWeighed?: boolean;
  /** Node options of the server process. */
  readonly serverArgs?: readonly string[];
}

/** What a round has cost. */
export interface Round {
  readonly cpuNanosPerMessage: number;
  readonly messagesPerSecond: number;
  /** What one message took on the wire, headers included. */
  readonly bytesPerMessage: number;
  /** Share of its core that the clients process has used, 0-1. */
  readonly clientLoad: number;
  /** Of the server. */
  readonly cpuMs: number;
  readonly latenciesMicros: readonly number[];
}

/** One candidate's server in one process and its clients in another, connected. */
export class Fleet {
  readonly name: CandidateName;
  readonly settings: FleetSettings;
  readonly #server: Remote<ServerCalls>;
  readonly #clients = new Remote<ClientCalls>('clients.js', [], CLIENT_CORE, []);
  /** Heap and resident set of the server before anyone connected. */
  #empty: Memory | undefined;
  #position = 0;

  private constructor(name: CandidateName, settings: FleetSettings) {
    this.name = name;
    this.settings = settings;
    const nodeArgs = ['--expose-gc', ...(settings.serverArgs ?? [])];
    this.#server = new Remote('server.js', [name], SERVER_CORE, nodeArgs);
  }

  static async open(name: CandidateName, settings: FleetSettings): Promise<Fleet> {
    const fleet = new Fleet(name, settings);
    try {
      await fleet.#connect();
    } catch (error) {
      await fleet.close();
      throw error;
    }
    return fleet;
  }

  /** Positions of messages go on from round to round. */
  get #base(): number {
    return this.#position;
  }

  async run(load: Omit<Load, 'base'>): Promise<Round> {
    const positioned = { ...load, base: this.#base };
    this.#position += load.turns * load.pattern.length;
    await this.#clients.call('arm', positioned);
    const [server, clients] = await Promise.all([
      this.#server.call('run', positioned),
      this.#clients.call('finish', undefined),
    ]);
    return {
      cpuNanosPerMessage: (server.cpuMicros * 1000) / clients.messages,
      bytesPerMessage: clients.bytes / clients.messages,
      messagesPerSecond: (clients.messages * 1000) / server.wallMs,
      clientLoad: loadOf(clients),
      cpuMs: server.cpuMicros / 1000,
      latenciesMicros: clients.latenciesMicros,
    };
  }

  burst(burst: Omit<Burst, 'base'>): Promise<ClientRound> {
    const base = this.#base;
    this.#position += burst.times * burst.senders;
    return this.#clients.call('burst', { ...burst, base });
  }

  /** Heap and resident set of the server, above what it had before anyone connected, per connection. */
  async memoryPerConnection(): Promise<Memory> {
    const { heapBytes, rssBytes } = await this.#server.call('memory', undefined);
    const { connections } = this.settings;
    return {
      heapBytes: (heapBytes - (this.#empty?.heapBytes ?? 0)) / connections,
      rssBytes: (rssBytes - (this.#empty?.rssBytes ?? 0)) / connections,
    };
  }

  async close(): Promise<void> {
    // The clients first: those of a server that has gone would say that they fell off.
    await this.#clients.stop();
    await this.#server.stop();
  }

  async #connect(): Promise<void> {
    const { connections, compression = 'none', isIndexed = false, isEchoing = false } = this.settings;
    const address = await this.#server.call('listen', { compression, isIndexed, isEchoing });
    if (this.settings.isWeighed) this.#empty = await this.#server.call('memory', undefined);
    const { protocol } = entryOf(this.name);
    await this.#clients.call('connect', { ...address, connections, compression, protocol });
    // The last of them may still be on their way through the server's hooks.
    for (let tries = 0; (await this.#server.call('connected', undefined)) !== connections; tries++) {
      if (tries === 100) throw new Error(`${this.name} does not see its ${connections} connections`);
      await delay(20);
    }
  }
}

export function loadOf({ cpuMicros, wallMs }: ClientRound): number {
  return cpuMicros / 1000 / wallMs;
}
