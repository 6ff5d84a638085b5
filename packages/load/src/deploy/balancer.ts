import { once } from 'node:events';
import { get } from 'node:http';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { answer, nowMs, settled } from '../harness/index.js';
import { PROBE_INTERVAL_MS, type BalancerCalls } from './calls.js';

/** How long a readiness probe may take, in ms. */
const PROBE_TIMEOUT_MS = 1_000;
/** How long a new node may take until it is ready, in ms. */
const START_TIMEOUT_MS = 10_000;

interface Node {
  readonly port: number;
  isReady: boolean;
  unreadyAtMs: number | undefined;
  readonly sentAtMs: number[];
}

/** A TCP balancer: passes connections in turn to the nodes whose `/readyz` answers 200. It does not know WebSockets. */
const nodes: Node[] = [];
let turn = 0;

const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
  const ready = nodes.filter(({ isReady }) => isReady);
  const node = ready[turn++ % Math.max(ready.length, 1)];
  if (node === undefined) {
    client.destroy();
    return;
  }
  node.sentAtMs.push(nowMs());
  join(client, connect({ port: node.port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true }));
});

function join(client: Socket, upstream: Socket): void {
  client.pipe(upstream);
  upstream.pipe(client);
  for (const [socket, other] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    socket.on('error', () => other.destroy());
    socket.on('close', () => other.destroySoon());
  }
}

function probe({ port }: Node): Promise<boolean> {
  return new Promise((resolve) => {
    // A separate connection: one that is kept alive says nothing about the next client's.
    const options = { port, host: '127.0.0.1', path: '/readyz', agent: false, timeout: PROBE_TIMEOUT_MS };
    const request = get(options, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(false));
  });
}

async function look(node: Node): Promise<void> {
  const wasReady = node.isReady;
  node.isReady = await probe(node);
  if (wasReady && !node.isReady) node.unreadyAtMs = nowMs();
}

setInterval(() => nodes.forEach((node) => void look(node)), PROBE_INTERVAL_MS);

answer({
  async listen() {
    server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  },
  async add(port) {
    const node: Node = { port, isReady: false, unreadyAtMs: undefined, sentAtMs: [] };
    nodes.push(node);
    if (!(await settled(() => node.isReady, true, START_TIMEOUT_MS))) throw new Error('A node is not ready');
  },
  report: () => nodes,
} satisfies BalancerCalls);
