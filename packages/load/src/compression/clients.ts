import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { WebSocket } from 'ws';
import { answer, cpuMs, nowMs, percentile } from '../harness/index.js';
import type { CompressionClientsCalls } from './calls.js';

/**
 * The process of all clients. Twenty clients that inflate every message would take more CPU than the server, so two of
 * them do, and measure the latency; the others only count frames.
 */
const INFLATING = 2;
const HANDSHAKE_END = '\r\n\r\n';

let received = 0;
let latenciesMs: number[] = [];

async function connectInflating(port: number): Promise<void> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, {
    perMessageDeflate: { serverNoContextTakeover: true },
  });
  socket.on('error', () => undefined);
  socket.on('message', (data: Buffer) => {
    received++;
    latenciesMs.push(nowMs() - Number(data.subarray(0, data.indexOf(' ')).toString()));
  });
  await once(socket, 'open');
}

async function connectCounting(port: number): Promise<void> {
  const socket = connectTcp(port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write(
    [
      'GET / HTTP/1.1',
      'Host: 127.0.0.1',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      `Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover${HANDSHAKE_END}`,
    ].join('\r\n'),
  );
  const [head] = (await once(socket, 'data')) as [Buffer];
  countFrames(socket, head.subarray(head.indexOf(HANDSHAKE_END) + HANDSHAKE_END.length));
}

/** Counts messages without looking into them (RFC 6455 §5.2). In this script they are unfragmented and below 4 GiB. */
function countFrames(socket: Socket, first: Buffer): void {
  let header: Buffer = Buffer.alloc(0);
  let payloadLeft = 0;
  const read = (chunk: Buffer): void => {
    let at = 0;
    while (at < chunk.length) {
      if (payloadLeft > 0) {
        const taken = Math.min(payloadLeft, chunk.length - at);
        payloadLeft -= taken;
        at += taken;
        if (payloadLeft === 0) received++;
        continue;
      }
      header = Buffer.concat([header, chunk.subarray(at, ++at)]);
      const short = header[1];
      if (short === undefined || header.length < headerLength(short)) continue;
      if (short < 126) payloadLeft = short;
      else payloadLeft = short === 126 ? header.readUInt16BE(2) : header.readUInt32BE(6);
      header = Buffer.alloc(0);
    }
  };
  read(first);
  socket.on('data', read);
}

function headerLength(short: number): number {
  return short < 126 ? 2 : short === 126 ? 4 : 10;
}

answer({
  async connect({ port, clients }) {
    await Promise.all(
      Array.from({ length: clients }, (_, index) =>
        index < INFLATING ? connectInflating(port) : connectCounting(port),
      ),
    );
  },
  received: () => received,
  cpuMs,
  latency() {
    const sorted = latenciesMs.sort((a, b) => a - b);
    latenciesMs = [];
    return { p50Ms: percentile(sorted, 0.5), p99Ms: percentile(sorted, 0.99) };
  },
} satisfies CompressionClientsCalls);
