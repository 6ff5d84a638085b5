import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { answer } from '../harness/index.js';
import type { FlooderCalls } from './calls.js';

/** The client that floods. It writes frames that were prepared beforehand, so that only the server slows it down. */
const FIN_TEXT = 0x81;
const MASKED = 0x80;
const HEADER_BYTES = 6;

let socket: Socket | undefined;
let frames = Buffer.alloc(0);

/** A text frame whose mask is zero (RFC 6455 §5.3 wants one). @param bytes at most 125 */
function frameOf(bytes: number): Buffer {
  const frame = Buffer.alloc(HEADER_BYTES + bytes, 'x');
  return Buffer.concat([Buffer.from([FIN_TEXT, MASKED | bytes, 0, 0, 0, 0]), frame.subarray(HEADER_BYTES)]);
}

answer({
  async connect({ port, messages, bytes }) {
    frames = Buffer.alloc((HEADER_BYTES + bytes) * messages, frameOf(bytes));
    socket?.destroy();
    socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(
      'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
    );
    await once(socket, 'data');
    // The echoes are not read.
    socket.resume();
  },
  flood() {
    socket?.write(frames);
  },
} satisfies FlooderCalls);
