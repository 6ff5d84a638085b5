import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { WebSocket, type ServerOptions } from 'ws';
import { Connection, ConnectionsPool } from '../src/index.js';
import { expectConsistent } from './support/consistent.js';
import { Loopback } from './support/loopback.js';
import { failOnUncaught } from './support/no-uncaught.js';
import { Random } from './support/random.js';
import { runs } from './support/runs.js';
import { WireClient } from './support/wire.js';

failOnUncaught();

/** How many connections come and go. A soak test raises it. */
const CYCLES = runs({ quick: 50, ci: 300 }, 'FAULT_CYCLES');

/** A pool with a well-behaved member, which the faults of other clients must not disturb. */
async function start(options: ServerOptions = {}) {
  const loopback = await Loopback.start(options);
  const pool = new ConnectionsPool({ closeTimeout: 300 });
  const errors: Error[] = [];
  pool.on('error', (error) => errors.push(error));
  const bystander = await loopback.connect('bystander');
  await pool.newConnection(bystander.connection);

  const joinRaw = async () => {
    const wire = await WireClient.connect(loopback);
    const connection = new Connection('faulty', 'default', wire.socket);
    // Not `once`, which an error would reject.
    const closed = new Promise((resolve) => {
      connection.on('close', (code, reason) => resolve([code, reason]));
    });
    await pool.newConnection(connection);
    return { wire, connection, closed };
  };

  const expectUndisturbed = async (): Promise<void> => {
    await expectConsistent(pool, 1);
    await pool.send('default', 'bystander', 'private');
    const messages = [];
    while (messages.at(-1) !== 'private') messages.push(await bystander.client.next());
    await bystander.client.roundTrip();
    expect(bystander.client.inbox).toEqual([]);
  };
  return { loopback, pool, errors, bystander, joinRaw, expectUndisturbed };
}

/** A frame as a client sends it: masked with zeros, which change nothing. */
function frame(opcode: number, payload: string | Buffer = '', { fin = true, length = -1 } = {}): Buffer {
  const body = Buffer.from(payload as string);
  const size = length < 0 ? body.length : length;
  const head =
    size < 126 ? Buffer.from([0, 0x80 | size]) : Buffer.from([0, 0x80 | 126, size >> 8, size & 0xff]);
  head[0] = (fin ? 0x80 : 0) | opcode;
  return Buffer.concat([head, Buffer.alloc(4), body]);
}

const [CONTINUATION, TEXT, BINARY, CLOSE, PING] = [0, 1, 2, 8, 9];

const closeFrame = (code: number, reason = ''): Buffer =>
  frame(CLOSE, Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)]));

describe('a faulty peer', () => {
  test('a peer that stops reading and then disappears is reported with 1006', async () => {
    const { pool, joinRaw, expectUndisturbed } = await start();
    const { wire, connection, closed } = await joinRaw();
    wire.client.pause();
    const sends: Promise<boolean>[] = [];
    while (connection.bufferedAmount < 4_000_000) {
      sends.push(connection.send('x'.repeat(100_000)));
      await nextTurn();
    }
    wire.client.destroy();
    expect(await closed).toEqual([1006, '']);
    expect(connection.bufferedAmount).toBe(0);
    expect(await Promise.all(sends)).toEqual(sends.map(() => true));
    expect(await connection.send('late')).toBe(false);
    expect(pool.getConnection('default', 'faulty')).toBeUndefined();
    await expectUndisturbed();
  });

  test('a peer that ends its side without a close frame is reported with 1006', async () => {
    const { joinRaw, expectUndisturbed } = await start();
    const { wire, closed } = await joinRaw();
    wire.client.allowHalfOpen = true;
    wire.client.end();
    expect(await closed).toEqual([1006, '']);
    await expectUndisturbed();
  });

  test.each([
    ['in the middle of a head', frame(TEXT, 'x'.repeat(200)).subarray(0, 3)],
    ['in the middle of a payload', frame(TEXT, 'half', { length: 100 })],
    ['in the middle of a fragmented message', frame(TEXT, 'part', { fin: false })],
  ])('a peer that resets %s is reported with 1006, and nothing of that message arrives', async (_, bytes) => {
    const { joinRaw, errors, expectUndisturbed } = await start();
    const { wire, connection, closed } = await joinRaw();
    const messages: unknown[] = [];
    connection.on('message', (message) => messages.push(message));
    const whole = once(connection, 'message');
    wire.client.write(Buffer.concat([frame(TEXT, 'whole'), bytes]));
    await whole;
    wire.client.resetAndDestroy();
    expect(await closed).toEqual([1006, '']);
    expect(messages).toEqual(['whole']);
    expect(errors).toEqual([]);
    await expectUndisturbed();
  });

  test('a peer that never reads is terminated when it is closed, and its namespace goes on', async () => {
    const { pool, joinRaw, expectUndisturbed } = await start();
    const { wire, connection, closed } = await joinRaw();
    wire.client.pause();
    for (let i = 0; i < 40; i++) {
      void connection.send('x'.repeat(100_000));
      await nextTurn();
    }
    await connection.close(4000, 'enough');
    expect(await closed).toEqual([1006, '']);
    expect(pool.stats().terminated).toBe(1);
    await expectUndisturbed();
  });

  test.each<[string, Buffer, number, string]>([
    ['noise', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 1002, 'RSV1 must be clear'],
    ['an unknown opcode', frame(3, 'x'), 1002, 'invalid opcode 3'],
    ['a frame without a mask', Buffer.from([0x81, 1, 0x78]), 1002, 'MASK must be set'],
    ['a compressed frame that was not agreed on', frame(TEXT | 0x40, 'x'), 1002, 'RSV1 must be clear'],
    ['a continuation of nothing', frame(CONTINUATION, 'x'), 1002, 'invalid opcode 0'],
    ['a ping in fragments', frame(PING, 'x', { fin: false }), 1002, 'FIN must be set'],
    ['a ping that is too long', frame(PING, 'x'.repeat(126)), 1002, 'invalid payload length 126'],
    ['text that is not UTF-8', frame(TEXT, Buffer.from([0xc3, 0x28])), 1007, 'invalid UTF-8 sequence'],
    ['an invalid close code', closeFrame(1006), 1002, 'invalid status code 1006'],
    ['a close frame of one byte', frame(CLOSE, 'x'), 1002, 'invalid payload length 1'],
    ['a message that is too large', frame(BINARY, 'x'.repeat(1_001)), 1009, 'Max payload size exceeded'],
    [
      'fragments that are too large together',
      Buffer.concat([frame(TEXT, 'x'.repeat(600), { fin: false }), frame(CONTINUATION, 'x'.repeat(600))]),
      1009,
      'Max payload size exceeded',
    ],
  ])(
    'a peer that sends %s gets a close frame, and nobody else is disturbed',
    async (_, bytes, code, text) => {
      const { joinRaw, errors, expectUndisturbed } = await start({ maxPayload: 1_000 });
      const { wire, connection, closed } = await joinRaw();
      const messages: unknown[] = [];
      connection.on('message', (message) => messages.push(message));
      wire.client.write(bytes);
      const answer = await wire.frame();
      expect([answer.firstByte & 0x0f, answer.payload.readUInt16BE()]).toEqual([CLOSE, code]);
      wire.client.end();
      expect(await closed).toEqual([1006, '']);
      expect(messages).toEqual([]);
      expect(errors).toHaveLength(1);
      expect(errors[0]!.message).toContain(text);
      await expectUndisturbed();
    },
  );

  test('a message in fragments with a ping between them arrives whole', async () => {
    const { joinRaw } = await start();
    const { wire, connection } = await joinRaw();
    const message = once(connection, 'message');
    for (const part of [
      frame(TEXT, 'a', { fin: false }),
      frame(CONTINUATION, 'b', { fin: false }),
      frame(PING),
    ]) {
      for (const byte of part) wire.client.write(Buffer.from([byte]));
    }
    wire.client.write(frame(CONTINUATION, 'c'));
    expect(await message).toEqual(['abc', false]);
  });

  test.each<[string, Buffer | undefined, [number, string]]>([
    ['without a code', frame(CLOSE), [1005, '']],
    ['without a close frame', undefined, [1006, '']],
    ['with 1011', closeFrame(1011, 'broken'), [1011, 'broken']],
    ['with 3000', closeFrame(3000), [3000, '']],
    ['with 4999', closeFrame(4999, 'ü'.repeat(61)), [4999, 'ü'.repeat(61)]],
  ])('a peer that closes %s is reported with that code and reason', async (_, bytes, expected) => {
    const { pool, joinRaw, errors, expectUndisturbed } = await start();
    const { wire, connection, closed } = await joinRaw();
    const left = once(pool, 'disconnection');
    if (bytes) wire.client.write(bytes);
    wire.client.end();
    expect(await closed).toEqual(expected);
    expect(await left).toEqual([connection, ...expected]);
    expect(errors).toEqual([]);
    await expectUndisturbed();
  });
});

test(
  'after many clients have come and gone, the pool holds nothing of them',
  { timeout: 600_000 },
  async () => {
    const loopback = await Loopback.start();
    const pool = new ConnectionsPool({ heartbeat: true, idleTimeout: 60_000 });
    const random = new Random(1);
    const seen = { connection: 0, disconnection: 0, emptyNamespace: 0, error: 0 };
    for (const event of Object.keys(seen) as (keyof typeof seen)[]) pool.on(event, () => seen[event]++);

    const cycle = async (id: number): Promise<void> => {
      const { client, socket } = await loopback.pair();
      const connection = new Connection(String(id), `n${id % 7}`, socket);
      await pool.newConnection(connection);
      void pool.broadcastMessage(connection.namespace, 'hello');
      const end = random.below(5);
      if (end === 0) client.socket.close(4000);
      else if (end === 1) client.socket.terminate();
      else if (end === 2) connection.terminate();
      else if (end === 3) void connection.sendThenClose('bye');
      else void pool.closeAll(connection.namespace);
      await Promise.all([connection.close(), client.closed]);
      expect(socket.readyState).toBe(WebSocket.CLOSED);
    };
    for (let id = 0; id < CYCLES; id++) await cycle(id);

    await expectConsistent(pool, 0);
    expect(seen).toMatchObject({ connection: CYCLES, disconnection: CYCLES, error: 0 });
    expect(seen.emptyNamespace).toBe(CYCLES);
    expect(pool.stats()).toMatchObject({ errors: 0, heartbeatsLost: 0, idleTimeouts: 0 });
  },
);
