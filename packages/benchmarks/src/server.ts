import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import type { Candidate } from './candidates/candidate.js';
import { CANDIDATES, type CandidateName } from './candidates/index.js';
import type { Memory, ServerCalls } from './load.js';
import { answer } from './rpc.js';
import { TurnRunner } from './turn-runner.js';

/** The server process of one candidate: `node server.js NAME`. */
const candidate: Candidate = await CANDIDATES[process.argv[2] as CandidateName].create();
const runner = new TurnRunner(candidate);

/** The clients write one byte for each acknowledgement. */
async function listenForAcknowledgements(): Promise<number> {
  const server = createServer((socket) => {
    socket.setNoDelay();
    socket.on('data', ({ length }) => runner.acknowledged(length));
    socket.on('error', () => process.exit(1));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** Collections until nothing more is freed; two leave what finalizers hold on to. */
const COLLECTIONS = 4;

async function memory(): Promise<Memory> {
  for (let times = 0; times < COLLECTIONS; times++) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const { heapUsed, rss } = process.memoryUsage();
  return { heapBytes: heapUsed, rssBytes: rss };
}

answer({
  listen: async (settings) => ({
    port: await candidate.listen(settings),
    controlPort: await listenForAcknowledgements(),
  }),
  connected: () => candidate.connected(),
  run: (load) => runner.run(load),
  memory,
} satisfies ServerCalls);
