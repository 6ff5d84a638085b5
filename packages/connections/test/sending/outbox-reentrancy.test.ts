import { expect, test } from 'vitest';
import {
  Connection,
  ConnectionsPool,
  type ConnectionsPoolOptions,
  type SlowDecision,
  type WebSocketMessage,
} from '../../src/index.js';
import { endTurn } from '../support/engine.js';
import { endingWithTest, MemorySocket } from '../support/memory-socket.js';

/** A connection whose handler calls `act` for each message and then notes it. */
async function noting(
  act: (message: WebSocketMessage, connection: Connection, pool: ConnectionsPool) => void,
  options?: ConnectionsPoolOptions<Connection>,
): Promise<{
  readonly pool: ConnectionsPool;
  readonly connection: Connection;
  readonly noted: WebSocketMessage[];
}> {
  const pool = new ConnectionsPool(options);
  const noted: WebSocketMessage[] = [];
  const connection: Connection = new Connection('1', 'default', endingWithTest(new MemorySocket()), {
    send: (message) => {
      act(message, connection, pool);
      noted.push(message);
    },
    close: () => undefined,
  });
  await pool.newConnection(connection);
  return { pool, connection, noted };
}

test.each([true, false])(
  'what a handler sends before it has written its own message comes after that message (in a pool: %s)',
  async (isInPool) => {
    const { pool, connection, noted } = await noting((message) => {
      if (message === '1') void connection.send('2');
    });
    if (!isInPool) await pool.removeConnection(connection);
    expect(await connection.send('1')).toBe(true);
    expect(noted).toEqual(['1', '2']);
  },
);

test('a handler gets the buffer of a private message itself, not a copy', async () => {
  const { connection, noted } = await noting(() => undefined);
  const message = Buffer.from('message');
  expect(await connection.send(message)).toBe(true);
  expect(noted[0]).toBe(message);
});

test('a handler gets a private message that had to wait as it was at the call', async () => {
  const { pool, connection, noted } = await noting(() => undefined);
  const message = Buffer.from('before');
  void pool.broadcastMessage('default', 'first');
  const sent = connection.send(message);
  message.fill('x');
  expect(await sent).toBe(true);
  expect(noted.map(String)).toEqual(['first', 'before']);
});

const [first, second, inner] = ['1', '2'.repeat(60), 'i'.repeat(60)] as const;

test.each<[SlowDecision, boolean, readonly string[]]>([
  ['send', true, [first, second, inner]],
  ['drop', false, [first, second]],
])(
  'a message over the bound that a handler sends in the middle of a turn is not sent before the rest of it (onSlow: %s)',
  async (decision, isSent, expected) => {
    let sent: Promise<boolean> | undefined;
    const { pool, noted } = await noting(
      (message, connection) => {
        if (message === first) sent = connection.send(inner);
      },
      { maxBufferedBytes: 100, onSlow: () => decision },
    );
    void pool.broadcastMessage('default', first);
    void pool.broadcastMessage('default', second);
    await endTurn();
    expect(noted).toEqual(expected);
    expect(await sent).toBe(isSent);
  },
);

test('send() after close() returns false while a handler has not answered yet, and the handler is not called', async () => {
  const taken: WebSocketMessage[] = [];
  let answer: (() => void) | undefined;
  const connection = new Connection('1', 'default', endingWithTest(new MemorySocket()), {
    send: (message) => {
      taken.push(message);
      return new Promise<void>((resolve) => (answer = resolve));
    },
    close: () => undefined,
  });
  const before = connection.send('before');
  void connection.close();
  expect(await connection.send('after')).toBe(false);
  expect(taken).toEqual(['before']);
  answer!();
  expect(await before).toBe(true);
  expect(taken).toEqual(['before']);
});

test('an overridden send that ends its connection is not called for the broadcasts that waited', async () => {
  const pool = new ConnectionsPool();
  const taken: WebSocketMessage[] = [];
  let inner: Promise<unknown> | undefined;
  class Ending extends Connection {
    override async send(message: WebSocketMessage): Promise<boolean> {
      taken.push(message);
      inner ??= pool.broadcastMessage('default', 'inner');
      this.terminate();
      return super.send(message);
    }
  }
  await pool.newConnection(new Ending('1', 'default', new MemorySocket()));
  const outer = pool.broadcastMessage('default', 'outer');
  expect(taken).toEqual(['outer']);
  const failed = { recipients: 1, sent: 0, dropped: 0, failed: 1, conflated: 0 };
  expect(await Promise.all([outer, inner])).toEqual([failed, failed]);
});
