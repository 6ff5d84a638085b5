import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { Connection } from '../../src/index.js';
import { EventTargetSocket } from '../support/event-target-socket.js';
import { Loopback } from '../support/loopback.js';
import type { Received } from '../support/record.js';

describe('an event target', () => {
  async function connect() {
    const { client, socket } = await (await Loopback.start()).pair();
    const target = new EventTargetSocket(client.socket);
    return { peer: socket, target, connection: new Connection('1', 'default', target) };
  }

  test('an event target has no capability to terminate, ping, cork or pause', async () => {
    const { connection } = await connect();
    expect(connection.capabilities).toEqual({
      events: 'event-target',
      terminate: false,
      ping: false,
      bufferedAmount: true,
      readyState: true,
      cork: false,
      pause: false,
    });
  });

  // A Blob has to be read first, so a text that was sent after it would arrive before it.
  test('an event target delivers text as a string and binary as bytes, in order', async () => {
    const { peer, connection } = await connect();
    const received: Received[] = [];
    connection.on('message', (...args) => received.push(args));
    peer.send(Buffer.from([1, 2]));
    peer.send('text');
    await expect.poll(() => received.length).toBe(2);
    expect(received[0]![0]).toBeInstanceOf(Uint8Array);
    expect([...(received[0]![0] as Uint8Array)]).toEqual([1, 2]);
    expect(received.map(([, isBinary]) => isBinary)).toEqual([true, false]);
    expect(received[1]![0]).toBe('text');
  });

  test('an event target with a binaryType is set to "arraybuffer"', async () => {
    const { target } = await connect();
    expect(target.binaryType).toBe('arraybuffer');
    const plain = Object.assign(new EventTarget(), { send: () => undefined, close: () => undefined });
    expect(new Connection('1', 'default', plain).capabilities.events).toBe('event-target');
    expect(plain).not.toHaveProperty('binaryType');
  });

  test('an event target sends text as text and bytes as binary', async () => {
    const { peer, connection } = await connect();
    const received: unknown[][] = [];
    peer.on('message', (data: Buffer, isBinary) => received.push([data.toString(), isBinary]));
    expect(await connection.send('text')).toBe(true);
    expect(await connection.send(Buffer.from('bytes'))).toBe(true);
    await expect
      .poll(() => received)
      .toEqual([
        ['text', false],
        ['bytes', true],
      ]);
  });

  test('an event target sends nothing while it is connecting, and works once it is open', async () => {
    const { url, server } = await Loopback.start();
    const accepted = once(server, 'connection') as Promise<[WebSocket]>;
    const target = new EventTargetSocket(new WebSocket(url));
    const connection = new Connection('1', 'default', target);
    expect(await connection.send('too early')).toBe(false);

    await once(target, 'open');
    const [peer] = await accepted;
    const received = once(peer, 'message');
    expect(await connection.send('now')).toBe(true);
    expect(String((await received)[0])).toBe('now');

    const closed = once(connection, 'close');
    peer.close(4001, 'from the peer');
    expect(await closed).toEqual([4001, 'from the peer']);
    expect(connection.closed).toBe(true);
  });

  test('close() of an event target resolves when it has closed', async () => {
    const { peer, target, connection } = await connect();
    const closed = once(peer, 'close');
    await connection.close(4000, 'bye');
    expect(target.readyState).toBe(WebSocket.CLOSED);
    expect(await closed).toEqual([4000, Buffer.from('bye')]);
  });

  // Browsers refuse most close codes, including 1012, the default of a drain. The refusal was taken to mean that the
  // socket cannot be closed: it was reported as closed and stayed open for ever.
  test('an event target that refuses a close code is closed all the same', async () => {
    const { peer, connection } = await connect();
    const closed = once(peer, 'close');
    await connection.close(1012, 'restart');
    await closed;
  });

  test('an error of an event target is an error event and is never thrown', async () => {
    const { target, connection } = await connect();
    target.dispatchEvent(new Event('error'));
    const errors: Error[] = [];
    connection.on('error', (error) => errors.push(error));
    target.dispatchEvent(new Event('error'));
    target.dispatchEvent(Object.assign(new Event('error'), { error: new Error('own') }));
    target.dispatchEvent(Object.assign(new Event('error'), { message: 'text' }));
    expect(errors.map(({ message }) => message)).toEqual(['The socket failed', 'own', 'text']);
  });

  test('terminate() of an event target frees our side at once', async () => {
    const { connection } = await connect();
    const closed = once(connection, 'close');
    connection.terminate();
    expect(await closed).toEqual([1006, '']);
    expect(connection.closed).toBe(true);
  });
});
