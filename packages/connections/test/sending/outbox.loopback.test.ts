import { expect, test } from 'vitest';
import { ConnectionsPool } from '../../src/index.js';
import { endTurn, spySystemWrites, spyWrites } from '../support/engine.js';
import { poolOf } from '../support/pool-of.js';

test('a private message between broadcasts costs one system call, and its neighbours stay on the shared path', async () => {
  const {
    pool,
    members: [a, b],
  } = await poolOf(2);
  const [ofA, ofB] = [spySystemWrites(a.socket), spyWrites(b.socket)];
  void pool.broadcastMessage('default', '1');
  void a.connection.send('private');
  void pool.broadcastMessage('default', '2');
  await endTurn();
  expect(ofA.count).toBe(1);
  expect(ofB.length).toBe(1);
  expect(await a.client.exactly(3)).toEqual(['1', 'private', '2']);
  expect(await b.client.exactly(2)).toEqual(['1', '2']);
});

test('a connection that joins in the middle of a turn gets nothing that was broadcast before', async () => {
  const {
    pool,
    loopback,
    members: [a],
  } = await poolOf(1);
  const { client, connection } = await loopback.connect('late');
  void pool.broadcastMessage('default', 'before');
  void pool.newConnection(connection);
  void pool.broadcastMessage('default', 'after');
  expect(await a.client.exactly(2)).toEqual(['before', 'after']);
  expect(await client.exactly(1)).toEqual(['after']);
});

test('a connection that is excepted, sent to and closed in one turn gets what was meant for it, and its close last', async () => {
  const {
    pool,
    members: [a, b],
  } = await poolOf(2);
  const results = [
    pool.broadcastMessage('default', '1'),
    pool.broadcastMessage('default', '2', new Set(['a'])),
  ];
  void a.connection.send('private');
  results.push(pool.broadcastMessage('default', '3'));
  void a.connection.close(4000, 'enough');
  results.push(pool.broadcastMessage('default', '4'));
  expect(await a.client.closed).toEqual({ code: 4000, reason: 'enough' });
  expect(a.client.inbox).toEqual(['1', 'private', '3']);
  expect(await b.client.exactly(4)).toEqual(['1', '2', '3', '4']);
  const counts = (await Promise.all(results)).map(({ recipients, sent, failed }) => [
    recipients,
    sent,
    failed,
  ]);
  expect(counts).toEqual([
    [2, 2, 0],
    [1, 1, 0],
    [2, 2, 0],
    [1, 1, 0],
  ]);
});

test('a connection that leaves and joins again in one turn misses only what was broadcast between', async () => {
  const {
    pool,
    members: [a, b],
  } = await poolOf(2);
  void pool.broadcastMessage('default', '1');
  void pool.removeConnection(a.connection);
  void pool.broadcastMessage('default', '2');
  void pool.newConnection(a.connection);
  void pool.broadcastMessage('default', '3');
  expect(await a.client.exactly(2)).toEqual(['1', '3']);
  expect(await b.client.exactly(3)).toEqual(['1', '2', '3']);
});

test('a connection that is replaced gets what was broadcast before, and its successor the rest', async () => {
  const {
    pool,
    loopback,
    members: [a],
  } = await poolOf(1, { pool: { onDuplicate: 'replace' } });
  const successor = await loopback.connect('a');
  void pool.broadcastMessage('default', '1');
  void pool.newConnection(successor.connection);
  void pool.broadcastMessage('default', '2');
  expect((await a.client.closed).code).toBe(4409);
  expect(a.client.inbox).toEqual(['1']);
  expect(await successor.client.exactly(1)).toEqual(['2']);
});

test('a connection that moves to another pool gets the messages of both, in order', async () => {
  const {
    pool: first,
    members: [{ client, connection }],
  } = await poolOf(1);
  const second = new ConnectionsPool();
  void first.broadcastMessage('default', '1');
  void first.removeConnection(connection);
  void second.newConnection(connection);
  void second.broadcastMessage('default', '2');
  void first.broadcastMessage('default', 'nobody');
  void connection.send('3');
  expect(await client.exactly(3)).toEqual(['1', '2', '3']);
});
