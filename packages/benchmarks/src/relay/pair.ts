import { CLIENT_CORE, cpuMicrosOf, SERVER_CORE, settled, type Started } from '@soketi/load/harness';
import { setTimeout as delay } from 'node:timers/promises';
import type { Between } from './between.js';
import type { NodeSettings, RelayLoad } from './calls.js';
import { startNodes, type Nodes } from './nodes.js';

/** One probe has this long to arrive, in ms. */
const PROBE_MS = 200;
const MAX_PROBES = 25;
/** Long enough for a message too many to arrive, in ms. */
const LINGER_MS = 5;

/** What one round has cost, per message. */
export interface RelaySample {
  readonly publisherNanos: number;
  readonly receiverNanos: number;
  readonly brokerNanos: number;
  /** `undefined` where the broker does not tell. */
  readonly brokerBytes: number | undefined;
  readonly messagesPerSecond: number;
}

/** A node that publishes and one that receives, each pinned to a core, and what is between them. */
export class Pair {
  readonly #nodes: Nodes;

  private constructor(nodes: Nodes) {
    this.#nodes = nodes;
  }

  /** @param broker `undefined` if the nodes are workers of `node:cluster` */
  static async join(
    settings: Omit<NodeSettings, 'port'>,
    broker: Between | undefined,
    nodeArgs: readonly string[],
    started: Started,
  ): Promise<Pair> {
    const cores = [SERVER_CORE, CLIENT_CORE] as const;
    const pair = new Pair(await startNodes(settings, broker, cores, nodeArgs, started));
    await pair.#join();
    return pair;
  }

  async #join(): Promise<void> {
    const { settings, publisher, receiver } = this.#nodes;
    const controlPort = await publisher.call('joinToPublish', settings);
    await receiver.call('joinToReceive', settings, controlPort);
    for (let probes = 0; probes < MAX_PROBES; probes++) {
      await publisher.call('probe');
      if (await settled(() => receiver.call('hasHeard'), true, PROBE_MS)) return;
    }
    throw new Error(`${settings.candidate} over ${settings.transport} relays nothing`);
  }

  async run(load: RelayLoad): Promise<RelaySample> {
    const { publisher, receiver, between } = this.#nodes;
    const { pid } = between;
    await receiver.call('arm', load);
    const [bytesBefore, microsBefore] = [await between.bytes(), cpuMicrosOf(pid)];
    const [published, received] = await Promise.all([
      publisher.call('publish', load),
      receiver.call('finish'),
    ]);
    const [bytesAfter, microsAfter] = [await between.bytes(), cpuMicrosOf(pid)];
    await delay(LINGER_MS);
    const messages = load.turns * load.perTurn;
    return {
      publisherNanos: (published.cpuMicros * 1000) / messages,
      receiverNanos: (received.cpuMicros * 1000) / messages,
      brokerNanos: ((microsAfter - microsBefore) * 1000) / messages,
      brokerBytes: bytesBefore === undefined ? undefined : ((bytesAfter ?? NaN) - bytesBefore) / messages,
      messagesPerSecond: (messages * 1000) / published.wallMs,
    };
  }
}
