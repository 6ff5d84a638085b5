import { describe, expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { Loopback } from '../support/loopback.js';
import { record } from '../support/record.js';
import { watchUnhandled } from '../support/unhandled.js';

describe('handlers over a ws socket', () => {
  interface Command {
    readonly type: string;
  }

  /** Handlers that record their calls, over a real socket that emits its close. */
  async function connect(send: (message: Command, calls: unknown[][]) => unknown = () => undefined) {
    const { client, socket } = await (await Loopback.start()).pair();
    const calls: unknown[][] = [];
    const connection = new Connection<string, Command, WebSocket>('1', 'default', socket, {
      send: (message: Command) => {
        calls.push(['send', message]);
        return send(message, calls);
      },
      close: (code, reason) => {
        calls.push(['close', code, reason]);
        socket.close(code, reason);
      },
    });
    return { client, socket, connection, calls, events: record(connection) };
  }

  test('handlers replace send and close of the socket, and send gets the same object that was passed', async () => {
    const { client, connection, calls } = await connect();
    const command = { type: 'x' };
    expect(await connection.send(command)).toBe(true);
    await connection.close(4000, 'bye');
    expect(calls).toEqual([
      ['send', command],
      ['close', 4000, 'bye'],
    ]);
    expect(calls[0]![1]).toBe(command);
    expect(await client.closed).toEqual({ code: 4000, reason: 'bye' });
    expect(client.inbox).toEqual([]);
  });

  test('handlers get the message of a broadcast as it was passed', async () => {
    const { connection, calls } = await connect();
    const pool = new ConnectionsPool<Command, typeof connection>();
    await pool.newConnection(connection);
    const command = { type: 'x' };
    expect(await pool.broadcastMessage('default', command)).toEqual({
      recipients: 1,
      sent: 1,
      dropped: 0,
      failed: 0,
      conflated: 0,
    });
    expect(calls[0]![1]).toBe(command);
  });

  test('a message was not sent if the handler throws, rejects or answers false', async () => {
    const unhandled = watchUnhandled();
    const failure = new Error('handler');
    const outcomes: Record<string, () => unknown> = {
      throws: () => {
        throw failure;
      },
      rejects: () => Promise.reject(failure),
      false: () => false,
      later: () => Promise.resolve(false),
      fine: () => Promise.resolve(),
    };
    const { connection, events } = await connect(({ type }) => outcomes[type]!());
    const sent = await Promise.all(Object.keys(outcomes).map((type) => connection.send({ type })));
    expect(sent).toEqual([false, false, false, false, true]);
    expect(await unhandled.settle()).toEqual([]);
    expect(events).toEqual([
      ['error', failure],
      ['error', failure],
    ]);
  });

  // The close frame used to overtake messages that a handler was still encoding.
  test('the close waits for every send of a handler that is still pending', async () => {
    const release = new Map<string, () => void>();
    const { client, connection, calls } = await connect(
      ({ type }, done) =>
        new Promise<void>((resolve) => {
          release.set(type, () => {
            done.push(['done', type]);
            resolve();
          });
        }),
    );
    void connection.send({ type: 'slow' });
    void connection.send({ type: 'quick' });
    const closed = connection.close(4000);
    expect(connection.closed).toBe(true);

    release.get('quick')!();
    await client.roundTrip();
    expect(calls.map(([name]) => name)).toEqual(['send', 'send', 'done']);

    release.get('slow')!();
    await closed;
    expect(calls.map(([name]) => name)).toEqual(['send', 'send', 'done', 'done', 'close']);
  });

  test('handlers get nothing that is sent while the close waits', async () => {
    const releases: (() => void)[] = [];
    const { connection, calls } = await connect(
      () => new Promise<void>((resolve) => void releases.push(resolve)),
    );
    const first = connection.send({ type: 'first' });
    const closed = connection.close(4000);
    const late = connection.send({ type: 'late' });
    for (const release of releases) release();
    await closed;
    expect(await Promise.all([first, late])).toEqual([true, false]);
    expect(calls).toEqual([
      ['send', { type: 'first' }],
      ['close', 4000, ''],
    ]);
  });

  test('the close also comes after a send of a handler that rejects', async () => {
    const { connection, calls } = await connect(() => Promise.reject(new Error('handler')));
    void connection.send({ type: 'x' });
    await connection.close(4000);
    expect(calls).toEqual([
      ['send', { type: 'x' }],
      ['close', 4000, ''],
    ]);
  });

  test('a send of a handler that never settles delays the close until the grace period ends', async () => {
    const { connection, calls, client } = await connect(() => new Promise(() => undefined));
    const pool = new ConnectionsPool<Command, typeof connection>({ closeTimeout: 50 });
    await pool.newConnection(connection);
    void connection.send({ type: 'x' });
    await connection.close(4000);
    expect(calls).toEqual([['send', { type: 'x' }]]);
    expect((await client.closed).code).toBe(1006);
  });

  test('a close handler that throws or rejects has the socket terminated', async () => {
    const loopback = await Loopback.start();
    const failure = new Error('cannot close');
    const throwing = (): never => {
      throw failure;
    };
    for (const close of [throwing, () => Promise.reject(failure)]) {
      const { client, socket } = await loopback.pair();
      const connection = new Connection('1', 'default', socket, { send: () => undefined, close });
      const events = record(connection);
      await connection.close();
      expect(events).toEqual([
        ['error', failure],
        ['close', 1006, ''],
      ]);
      expect((await client.closed).code).toBe(1006);
    }
  });

  test('sendThenClose closes after the handler has answered', async () => {
    const { connection, calls } = await connect(async (_, done) => {
      await Promise.resolve();
      done.push(['done']);
    });
    expect(await connection.sendThenClose({ type: 'last' }, 4000, 'bye')).toBe(true);
    expect(calls.map(([name]) => name)).toEqual(['send', 'done', 'close']);
  });
});
