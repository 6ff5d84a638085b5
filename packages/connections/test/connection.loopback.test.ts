import { describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import type { Connection } from '../src/index.js';
import { closesOf } from './support/closes-of.js';
import { Loopback } from './support/loopback.js';

describe('sending, then closing', () => {
  test.each<[string, (connection: Connection) => Promise<boolean>, string, number, string]>([
    ['sendThenClose', (c) => c.sendThenClose('text'), 'text', 1000, ''],
    ['sendThenClose with a code', (c) => c.sendThenClose('text', 4000, 'bye'), 'text', 4000, 'bye'],
    ['sendJsonThenClose', (c) => c.sendJsonThenClose({ n: 1 }), '{"n":1}', 1000, ''],
    ['sendJsonThenClose with a code', (c) => c.sendJsonThenClose([1], 4000, 'bye'), '[1]', 4000, 'bye'],
    ['sendErrorThenClose', (c) => c.sendErrorThenClose('oops'), 'oops', 1011, ''],
    ['sendErrorThenClose of a value', (c) => c.sendErrorThenClose({ e: 1 }), '{"e":1}', 1011, ''],
    ['sendErrorThenClose with a code', (c) => c.sendErrorThenClose('e', 4000, 'bye'), 'e', 4000, 'bye'],
    ['sendError with a code', (c) => c.sendError('e', 4000, 'bye'), 'e', 4000, 'bye'],
  ])('%s sends the message and then closes once', async (_, call, message, code, reason) => {
    const { client, socket, connection } = await (await Loopback.start()).connect('1');
    const closes = closesOf(connection);
    const sent = call(connection);
    void connection.send('between');
    expect(await sent).toBe(true);
    expect(socket.readyState).toBe(WebSocket.CLOSED);
    expect(await client.closed).toEqual({ code, reason });
    expect(client.inbox).toEqual([message]);
    expect(closes).toEqual([[code, reason]]);
  });

  test('sendError without a code leaves the connection open', async () => {
    const { client, connection } = await (await Loopback.start()).connect('1');
    expect(await connection.sendError('text')).toBe(true);
    expect(await connection.sendError({ code: 1 })).toBe(true);
    expect(await connection.sendError(Buffer.from('bytes'))).toBe(true);
    expect(await client.exactly(3)).toEqual(['text', '{"code":1}', Buffer.from('bytes')]);
    expect(connection.closed).toBe(false);
  });

  test('nothing is sent or closed when the message or the close code is refused', async () => {
    const { client, connection } = await (await Loopback.start()).connect('1');
    await expect(connection.sendThenClose(1 as never)).rejects.toThrow(TypeError);
    await expect(connection.sendJsonThenClose(undefined)).rejects.toThrow(TypeError);
    await expect(connection.sendErrorThenClose(() => 1)).rejects.toThrow(TypeError);
    await expect(connection.sendThenClose('x', 1006)).rejects.toThrow(RangeError);
    await expect(connection.sendJsonThenClose({}, 1006)).rejects.toThrow(RangeError);
    await expect(connection.sendErrorThenClose('x', 1000, 'x'.repeat(124))).rejects.toThrow(RangeError);
    await expect(connection.sendError('x', 1006)).rejects.toThrow(RangeError);
    expect(connection.closed).toBe(false);
    await client.exactly(0);
  });

  test('sendThenClose and its variants resolve false on a closed connection', async () => {
    const { connection } = await (await Loopback.start()).connect('1');
    await connection.close();
    expect(await connection.sendThenClose('x')).toBe(false);
    expect(await connection.sendJsonThenClose({})).toBe(false);
    expect(await connection.sendErrorThenClose('x')).toBe(false);
    expect(await connection.sendError('x', 4000)).toBe(false);
  });
});
