import { Remote, type Started } from '@soketi/load/harness';
import type { Between } from './between.js';
import type { NodeSettings, PrimaryCalls } from './calls.js';
import type { NodeCalls } from './node.js';

const NODE = new URL('node.js', import.meta.url);
const PRIMARY = new URL('primary.js', import.meta.url);

/** A process that answers the calls of a node. */
export type NodeCaller = Pick<Remote<NodeCalls>, 'call'>;

/** Cores that the processes are pinned to; any where pinning is not possible. */
export type Core = number | undefined;

/** Two nodes, and what carries messages from one to the other. */
export interface Nodes {
  readonly settings: NodeSettings;
  readonly publisher: NodeCaller;
  readonly receiver: NodeCaller;
  readonly between: Pick<Between, 'pid' | 'bytes'>;
}

/**
 * Starts the processes of two nodes. They have not joined yet.
 *
 * @param broker `undefined` if the nodes are workers of `node:cluster`
 */
export async function startNodes(
  settings: Omit<NodeSettings, 'port'>,
  broker: Between | undefined,
  [publisherCore, receiverCore]: readonly [Core, Core],
  nodeArgs: readonly string[],
  started: Started,
): Promise<Nodes> {
  if (broker !== undefined) {
    return {
      settings: { ...settings, port: broker.port },
      publisher: startNode(publisherCore, nodeArgs, started),
      receiver: startNode(receiverCore, nodeArgs, started),
      between: broker,
    };
  }
  const primary = started(new Remote<PrimaryCalls>(PRIMARY, { args: [settings.candidate], nodeArgs }));
  return {
    settings: { ...settings, port: 0 },
    publisher: await startWorker(primary, 0, publisherCore),
    receiver: await startWorker(primary, 1, receiverCore),
    between: { pid: primary.pid, bytes: () => Promise.resolve(undefined) },
  };
}

export function startNode(core: Core, nodeArgs: readonly string[], started: Started): NodeCaller {
  return started(new Remote<NodeCalls>(NODE, { core, nodeArgs }));
}

async function startWorker(primary: Remote<PrimaryCalls>, worker: number, core: Core): Promise<NodeCaller> {
  await primary.call('fork', core);
  return { call: (name, ...args) => primary.call('call', worker, name, args) as never };
}
