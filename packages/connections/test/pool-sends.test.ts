import { describe, expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../src/index.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';
import { watch } from './support/settled.js';

test('pool.send resolves with the outcome of the send when the handler has answered', async () => {
  // The original returned before the handler had run, and did not report its outcome.
  const pool = new ConnectionsPool();
  const pending: { resolve: (value: unknown) => void; reject: (error: Error) => void }[] = [];
  const connection = new Connection('1', 'default', new MemorySocket(), {
    send: () => new Promise((resolve, reject) => pending.push({ resolve, reject })),
    close: () => undefined,
  });
  const errors: Error[] = [];
  connection.on('error', (error) => errors.push(error));
  await pool.newConnection(connection);

  const accepted = pool.send('default', '1', 'one');
  const refused = pool.send('default', '1', 'two');
  const failed = pool.send('default', '1', 'three');
  const state = watch(accepted);
  await new Promise((resolve) => setImmediate(resolve));
  expect(state.isSettled).toBe(false);
  pending[0]!.resolve(undefined);
  pending[1]!.resolve(false);
  pending[2]!.reject(new Error('no route'));
  await expect(accepted).resolves.toBe(true);
  await expect(refused).resolves.toBe(false);
  await expect(failed).resolves.toBe(false);
  expect(errors).toEqual([new Error('no route')]);

  await expect(pool.send('default', 'nobody', 'x')).resolves.toBe(false);
});

const circular: unknown[] = [];
circular.push(circular);

/** Mistakes, and the calls of a pool that make them. */
const mistakes: readonly [
  title: string,
  call: (pool: ConnectionsPool) => Promise<unknown>,
  ErrorConstructor,
][] = [
  ['send with an object', (pool) => pool.send('n', '1', {} as string), TypeError],
  ['sendThenClose with an object', (pool) => pool.sendThenClose('n', '1', {} as string), TypeError],
  ['sendThenClose with the code 42', (pool) => pool.sendThenClose('n', '1', 'x', 42), RangeError],
  ['sendJson with undefined', (pool) => pool.sendJson('n', '1', undefined), TypeError],
  ['sendJson with a circle', (pool) => pool.sendJson('n', '1', circular), TypeError],
  ['sendJsonThenClose with undefined', (pool) => pool.sendJsonThenClose('n', '1', undefined), TypeError],
  ['sendJsonThenClose with the code 42', (pool) => pool.sendJsonThenClose('n', '1', {}, 42), RangeError],
  ['sendError with a circle', (pool) => pool.sendError('n', '1', circular), TypeError],
  ['sendError with the code 42', (pool) => pool.sendError('n', '1', 'x', 42), RangeError],
  ['sendErrorThenClose with a circle', (pool) => pool.sendErrorThenClose('n', '1', circular), TypeError],
  ['sendErrorThenClose with the code 42', (pool) => pool.sendErrorThenClose('n', '1', 'x', 42), RangeError],
  ['close with the code 999', (pool) => pool.close('n', '1', 999), RangeError],
  ['close with a reason of 124 bytes', (pool) => pool.close('n', '1', 4000, 'x'.repeat(124)), RangeError],
  ['close with a reason that is not text', (pool) => pool.close('n', '1', 4000, 5 as never), TypeError],
  ['closeAll with the code 999', (pool) => pool.closeAll('n', 999), RangeError],
  ['broadcastMessage with an object', (pool) => pool.broadcastMessage('n', {} as string), TypeError],
  ['broadcastMessage with a number', (pool) => pool.broadcastMessage('n', 5 as never), TypeError],
  ['broadcastJsonMessage with undefined', (pool) => pool.broadcastJsonMessage('n', undefined), TypeError],
  ['broadcastError with a circle', (pool) => pool.broadcastError('n', circular), TypeError],
  ['broadcastError with the code 42', (pool) => pool.broadcastError('n', 'x', 42), RangeError],
];

describe.each<[string, readonly string[]]>([
  ['nobody is there', []],
  ['somebody is there', ['1']],
])('mistakes while %s', (where, ids) => {
  test.each(mistakes)(`%s is refused while ${where}`, async (_, call, error) => {
    // These calls resolved while nobody was in the namespace: the mistake only showed in production, where it ended the
    // process.
    const pool = new ConnectionsPool();
    const sockets = [];
    for (const id of ids) {
      const { connection, socket } = connectInMemory(id, 'n');
      sockets.push(socket);
      await pool.newConnection(connection);
    }
    await expect(call(pool)).rejects.toThrow(error);
    for (const { sent, closes } of sockets) expect([sent, closes]).toEqual([[], []]);
  });
});

test('a pool takes any message once a connection with handlers has joined, for its handlers decide', async () => {
  const pool = new ConnectionsPool<unknown, Connection<string, unknown, object>>();
  await expect(pool.broadcastMessage('n', { any: 'value' })).rejects.toThrow(TypeError);
  const sent: unknown[] = [];
  const connection = new Connection<string, unknown, object>(
    '1',
    'n',
    {},
    {
      send: (message) => void sent.push(message),
      close: () => undefined,
    },
  );
  await pool.newConnection(connection);
  await expect(pool.broadcastMessage('n', { any: 'value' })).resolves.toMatchObject({ sent: 1 });
  await expect(pool.send('n', '1', { any: 'value' })).resolves.toBe(true);
  expect(sent).toEqual([{ any: 'value' }, { any: 'value' }]);
  await pool.removeConnection(connection);
  await expect(pool.broadcastMessage('n', { any: 'value' })).resolves.toMatchObject({ recipients: 0 });
});

test('sendThenClose and its variants of a pool resolve false when nobody has the id', async () => {
  const pool = new ConnectionsPool();
  expect(await pool.sendThenClose('default', 'nobody', 'x')).toBe(false);
  expect(await pool.sendJsonThenClose('default', 'nobody', {})).toBe(false);
  expect(await pool.sendErrorThenClose('default', 'nobody', 'x')).toBe(false);
});

test('broadcastError with a code closes its recipients without a reason, but none of the exceptions', async () => {
  const pool = new ConnectionsPool();
  const [one, spared] = [connectInMemory('1'), connectInMemory('2')];
  for (const { connection } of [one, spared]) await pool.newConnection(connection);
  expect(await pool.broadcastError('default', 'fatal', 4000, undefined, ['2'])).toMatchObject({ sent: 1 });
  expect([one, spared].map(({ socket }) => socket.sent)).toEqual([['fatal'], []]);
  expect([one, spared].map(({ socket }) => socket.closes)).toEqual([[{ code: 4000, reason: '' }], []]);
  expect(spared.connection.closed).toBe(false);
});
