import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { WebSocket, type ClientOptions } from 'ws';
import { Client } from '../../../packages/connections/test/support/loopback.js';
import { onTestFinished } from '../../../packages/connections/test/support/on-test-finished.js';

/** A built example in its own process, which ends with the test. */
export class Example {
  readonly process: ChildProcess;
  readonly port: number;
  readonly #ended: Promise<{ status: number | NodeJS.Signals | null; errors: string }>;

  private constructor(child: ChildProcess, port: number, ended: Example['ended']) {
    this.process = child;
    this.port = port;
    this.#ended = ended;
  }

  /** The exit status, or the signal that ended the process, and what it has written to stderr. */
  get ended(): Promise<{ status: number | NodeJS.Signals | null; errors: string }> {
    return this.#ended;
  }

  static async start(name: string, env: NodeJS.ProcessEnv = {}, code?: string): Promise<Example> {
    const file = fileURLToPath(new URL(`../../dist/${name}.js`, import.meta.url));
    const args = code === undefined ? [file] : ['--input-type=module', '--eval', code];
    const child = spawn(process.execPath, args, {
      cwd: fileURLToPath(new URL('../../dist', import.meta.url)),
      env: { ...process.env, PORT: '0', SESSION_SECRET: SECRET, JWT_SECRET: SECRET, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    let errors = '';
    child.stderr.on('data', (data) => (errors += String(data)));
    const ended = once(child, 'close').then(([status, signal]) => ({
      status: (status ?? signal) as number | NodeJS.Signals | null,
      errors,
    }));
    let output = '';
    for await (const line of createInterface(child.stdout)) {
      output += line;
      const port = /Listening on .*port: (\d+)/.exec(output)?.[1];
      if (port !== undefined) return new Example(child, Number(port), ended);
    }
    throw new Error(`${name} ended: ${(await ended).errors}`);
  }
}

const SECRET = 'only-for-tests-'.repeat(3);

export interface Asking extends ClientOptions {
  readonly path: string;
  readonly protocols?: string[];
}

/** An open client of the server on that port. */
export async function connect(port: number, { path, protocols, ...options }: Asking): Promise<Client> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols ?? [], options);
  onTestFinished(() => socket.terminate());
  const client = new Client(socket);
  const refused = once(socket, 'error').then(([error]) => Promise.reject(error as Error));
  await Promise.race([once(socket, 'open'), refused]);
  return client;
}

/** The HTTP status with which the server refuses a client. */
export async function refusalOf(port: number, { path, protocols, ...options }: Asking): Promise<number> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols ?? [], options);
  socket.on('error', () => undefined);
  const opened = once(socket, 'open').then(() => Promise.reject(new Error('The client was let in.')));
  const refused = once(socket, 'unexpected-response').then(([, { statusCode }]) => statusCode as number);
  try {
    return await Promise.race([refused, opened]);
  } finally {
    socket.terminate();
  }
}

/**
 * Sends the request to upgrade and a message in one packet.
 *
 * @returns all that the server sends until `expected` has come
 */
export async function sendEarly(
  port: number,
  asking: Asking,
  message: string,
  expected: string,
): Promise<string> {
  const socket = connectTcp(port, '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  const protocols = asking.protocols && { 'Sec-WebSocket-Protocol': asking.protocols.join() };
  const headers = { ...(asking.headers as Record<string, string> | undefined), ...protocols };
  socket.write(
    Buffer.concat([
      Buffer.from(
        [
          `GET ${asking.path} HTTP/1.1`,
          `Host: 127.0.0.1:${port}`,
          'Connection: Upgrade',
          'Upgrade: websocket',
          'Sec-WebSocket-Version: 13',
          'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
          ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
          '\r\n',
        ].join('\r\n'),
      ),
      // Text, masked with zeros.
      Buffer.from([0x81, 0x80 | message.length, 0, 0, 0, 0]),
      Buffer.from(message),
    ]),
  );
  let answer = '';
  for await (const data of socket) if ((answer += String(data)).includes(expected)) break;
  return answer;
}
