import { expect, test, vi } from 'vitest';
import { ConnectionsPool } from '../src/index.js';
import { connectInMemory } from './support/memory-socket.js';

test('onEmptyNamespace is called each time that a namespace empties', async () => {
  const pool = new ConnectionsPool();
  const onEmpty = vi.fn();
  for (let time = 1; time <= 3; time++) {
    const { connection } = connectInMemory();
    await pool.newConnection(connection);
    await pool.removeConnection(connection, onEmpty);
    expect(onEmpty).toHaveBeenCalledTimes(time);
  }
});

test('an onEmptyNamespace that throws or rejects is called once, and its error reaches the caller', async () => {
  for (const fail of [
    () => {
      throw new Error('callback failed');
    },
    () => Promise.reject(new Error('callback failed')),
  ]) {
    const { connection } = connectInMemory();
    const pool = new ConnectionsPool();
    await pool.newConnection(connection);
    const onEmpty = vi.fn(fail);
    await expect(pool.removeConnection(connection, onEmpty)).rejects.toThrow('callback failed');
    await pool.removeConnection(connection, onEmpty);
    expect(onEmpty).toHaveBeenCalledTimes(1);
    expect(pool.hasNamespace('default')).toBe(false);
    await pool.newConnection(connectInMemory('next').connection);
    expect(pool.stats().connections).toBe(1);
  }
});

test('onEmptyNamespace is not called for a connection of another pool or of no pool', async () => {
  const [one, other] = [new ConnectionsPool(), new ConnectionsPool()];
  const { connection } = connectInMemory();
  const onEmpty = vi.fn();
  await one.newConnection(connection);
  await other.removeConnection(connection, onEmpty);
  await other.removeConnection(connectInMemory().connection, onEmpty);
  expect(onEmpty).not.toHaveBeenCalled();
  expect(one.stats().connections).toBe(1);
});

test('onEmptyNamespace is not called when a disconnection listener adds a connection', async () => {
  // A listener adds a successor; the callback then destroyed what the successor used.
  const pool = new ConnectionsPool();
  const { connection } = connectInMemory();
  const onEmpty = vi.fn();
  const emptied = vi.fn();
  await pool.newConnection(connection);
  pool.once('disconnection', () => void pool.newConnection(connectInMemory('next').connection));
  pool.on('emptyNamespace', emptied);
  await pool.removeConnection(connection, onEmpty);
  expect(pool.hasNamespace('default')).toBe(true);
  expect(emptied).not.toHaveBeenCalled();
  expect(onEmpty).not.toHaveBeenCalled();
});
