import { EventEmitter } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { ConnectionsPool } from '../src/index.js';
import { PACKAGE } from './support/docs.js';
import { connectInMemory } from './support/memory-socket.js';

// A subclass that logged errors in a method called onError() replaced a method of the library: newConnection() rejected
// when a listener had failed, and an error that a timer reported ended the process.
test('a subclass of ConnectionsPool may have methods with names that the library does not document', async () => {
  const fail = (): never => {
    throw new Error('not for the library');
  };
  class Busy extends ConnectionsPool {
    onError = fail;
    emitSafely = fail;
    reportError = fail;
    assertMessage = fail;
    subjectOf = fail;
    get elsewhere(): never {
      return fail();
    }
  }
  const pool = new Busy();
  const errors: string[] = [];
  pool.on('error', ({ message }) => errors.push(message));
  pool.on('connection', () => {
    throw new Error('a listener failed');
  });
  const { connection, socket } = connectInMemory('1', 'a');
  await pool.newConnection(connection);
  await pool.send('a', '1', 'private');
  await pool.send('a', 'nobody', 'x');
  await pool.broadcastMessage('a', 'for all');
  await pool.close('a', 'nobody');
  expect(errors).toEqual(['a listener failed']);
  expect(pool.stats()).toMatchObject({ connections: 1, errors: 1 });
  expect(socket.sent).toEqual(['private', 'for all']);
});

test('every method of a ConnectionsPool that a subclass could override by accident is documented', () => {
  const documented = readFileSync(path.join(PACKAGE, 'docs', 'api.md'), 'utf8');
  const names: string[] = [];
  for (
    let prototype: object = ConnectionsPool.prototype;
    prototype !== EventEmitter.prototype;
    prototype = Object.getPrototypeOf(prototype) as object
  ) {
    names.push(...Object.getOwnPropertyNames(prototype));
  }
  const missing = names.filter((name) => !new RegExp(`^- \`${name}[<(:]`, 'm').test(documented));
  expect(missing).toEqual([]);
});
