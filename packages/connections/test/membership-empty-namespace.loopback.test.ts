import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import type { ConnectionsPool } from '../src/index.js';
import type { Member } from './support/engine.js';
import { poolOf } from './support/pool-of.js';

describe('onEmptyNamespace', () => {
  test('onEmptyNamespace is called once, for the last connection that is removed', async () => {
    const { pool, members } = await poolOf(3, { isNumbered: true });
    const onEmpty = vi.fn();
    for (const { connection } of members) {
      expect(onEmpty).not.toHaveBeenCalled();
      await pool.removeConnection(connection, onEmpty);
    }
    expect(onEmpty).toHaveBeenCalledTimes(1);
  });

  test('onEmptyNamespace is called once when the last connection is removed twice at the same time', async () => {
    const { pool, members } = await poolOf(1, { isNumbered: true });
    const onEmpty = vi.fn(() => nextTurn());
    const { connection } = members[0];
    await Promise.all([
      pool.removeConnection(connection, onEmpty),
      pool.removeConnection(connection, onEmpty),
    ]);
    expect(onEmpty).toHaveBeenCalledTimes(1);
  });

  /** The familiar idioms: the pool removes a closed connection by itself, but still calls the callback. */
  const idioms: readonly [
    title: string,
    listen: (member: Member, remove: () => Promise<void>) => Promise<unknown>,
  ][] = [
    [
      'ws.on("close")',
      ({ socket }, remove) =>
        new Promise<void>((resolve) => socket.on('close', () => void remove().then(resolve))),
    ],
    [
      'ws.on("close"), ahead of the listener of the library',
      ({ socket }, remove) =>
        new Promise<void>((resolve) => socket.prependListener('close', () => void remove().then(resolve))),
    ],
    [
      'connection.on("close")',
      ({ connection }, remove) =>
        new Promise<void>((resolve) => connection.on('close', () => void remove().then(resolve))),
    ],
    [
      'a listener that waits for something first',
      ({ socket }, remove) =>
        new Promise<void>((resolve) => {
          socket.on('close', () => void nextTurn().then(remove).then(resolve));
        }),
    ],
  ];
  const endings: readonly [title: string, end: (pool: ConnectionsPool, members: Member[]) => unknown][] = [
    ['the clients close', (_pool, members) => members.forEach(({ client }) => client.socket.close())],
    ['the clients vanish', (_pool, members) => members.forEach(({ client }) => client.socket.terminate())],
    ['closeAll closes them', (pool) => pool.closeAll('default')],
    [
      'the server terminates them',
      (_pool, members) => members.forEach(({ connection }) => connection.terminate()),
    ],
    ['a drain closes them', (pool) => pool.drainConnections(10)],
  ];
  const matrix = idioms.flatMap(([idiom, listen]) =>
    endings.map(([ending, end]) => [idiom, ending, listen, end] as const),
  );

  test.each(matrix)(
    'onEmptyNamespace is called once from %s when %s',
    async (_idiom, _ending, listen, end) => {
      const { pool, members } = await poolOf(3, { isNumbered: true });
      const onEmpty = vi.fn();
      const removed = members.map((member) =>
        listen(member, () => pool.removeConnection(member.connection, onEmpty)),
      );
      void end(pool, members);
      await Promise.all(removed);
      expect(onEmpty).toHaveBeenCalledTimes(1);
      expect(pool.hasNamespace('default')).toBe(false);
      // After that, the callback is not called any more.
      for (const { connection } of members) await pool.removeConnection(connection, onEmpty);
      expect(onEmpty).toHaveBeenCalledTimes(1);
    },
  );

  test('onEmptyNamespace is awaited, and a connection that joins meanwhile stays', async () => {
    // The namespace used to be deleted after the callback: a connection that had joined during it was lost.
    const { pool, members, loopback } = await poolOf(1, { isNumbered: true });
    const late = await loopback.connect('late');
    let release: () => void = () => undefined;
    const onEmpty = vi.fn(() => new Promise<void>((resolve) => (release = resolve)));
    const removed = pool.removeConnection(members[0].connection, onEmpty);
    expect(onEmpty).toHaveBeenCalledTimes(1);
    await pool.newConnection(late.connection);
    release();
    await removed;
    expect(pool.getConnection('default', 'late')).toBe(late.connection);
    await expect(pool.broadcastMessage('default', 'x')).resolves.toMatchObject({ sent: 1 });
    expect(onEmpty).toHaveBeenCalledTimes(1);
  });
});

describe('onEmptyNamespace when the namespace is not empty', () => {
  test('onEmptyNamespace is not called for a late removal after somebody has joined', async () => {
    const { pool, members, join } = await poolOf(1, { isNumbered: true });
    const { client, connection } = members[0];
    const onEmpty = vi.fn();
    client.socket.close();
    await once(connection, 'close');
    await join('next');
    await pool.removeConnection(connection, onEmpty);
    expect(onEmpty).not.toHaveBeenCalled();
    expect(pool.hasNamespace('default')).toBe(true);
  });

  test('onEmptyNamespace is not called for a connection that was replaced', async () => {
    const { pool, members, join } = await poolOf(1, { pool: { onDuplicate: 'replace' }, isNumbered: true });
    const { client, connection, socket } = members[0];
    const onEmpty = vi.fn();
    const removed = new Promise<void>((resolve) => {
      socket.on('close', () => void pool.removeConnection(connection, onEmpty).then(resolve));
    });
    await join('1');
    await client.closed;
    await removed;
    expect(onEmpty).not.toHaveBeenCalled();
  });
});
