import { Remote, type Started } from '../harness/index.js';
import type { BalancerCalls, ClientsCalls, NodeCalls } from './calls.js';

interface Entrance {
  readonly clients: Remote<ClientsCalls>;
  readonly balancer: Remote<BalancerCalls>;
  /** The port of the balancer, which the clients connect to. */
  readonly port: number;
}

/** Starts the clients, and the balancer that they connect through. */
export async function startEntrance(started: Started): Promise<Entrance> {
  const clients = started(new Remote<ClientsCalls>(new URL('clients.js', import.meta.url)));
  const balancer = started(new Remote<BalancerCalls>(new URL('balancer.js', import.meta.url)));
  return { clients, balancer, port: await balancer.call('listen') };
}

/** Starts a node, and adds it to the balancer. @param args those of `node.js` */
export async function startNode(
  started: Started,
  balancer: Remote<BalancerCalls>,
  ...args: readonly string[]
): Promise<Remote<NodeCalls>> {
  const node = started(new Remote<NodeCalls>(new URL('node.js', import.meta.url), { args }));
  await balancer.call('add', await node.call('listen'));
  return node;
}
