import { createServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { constants } from 'node:os';
import { expect, test, vi } from 'vitest';
import { ConnectionsPool, gracefulShutdown, type DrainOptions } from '../../src/index.js';
import { useFakeClock } from '../support/fake-clock.js';
import { onTestFinished } from '../support/on-test-finished.js';

useFakeClock();

test.each<[string, object, ErrorConstructor]>([
  ['no server', { server: undefined }, TypeError],
  ['a server that is not one', { server: {} }, TypeError],
  ['no pool', { pool: null }, TypeError],
  ['a pool that is not one', { pool: {} }, TypeError],
  ['an HTTP/2 server', { server: createHttp2Server() }, TypeError],
  ['a webSocketServer that is not one', { webSocketServer: {} }, TypeError],
  ['signals that are not a list', { signals: 'SIGTERM' }, TypeError],
  ['a signal that does not exist', { signals: ['SIGTERM', 'SIGFOO'] }, TypeError],
  ['a signal that no process can listen to', { signals: ['SIGKILL'] }, TypeError],
  ['a signal that stops the process', { signals: ['SIGSTOP'] }, TypeError],
  ['an onError that is not a function', { onError: 'log' }, TypeError],
  ['retryAfter -1', { retryAfter: -1 }, RangeError],
  ['retryAfter 1.5', { retryAfter: 1.5 }, RangeError],
  ['retryAfter NaN', { retryAfter: NaN }, RangeError],
  ['readinessDelay -1', { readinessDelay: -1 }, RangeError],
  ['readinessDelay NaN', { readinessDelay: NaN }, RangeError],
  ['readinessDelay beyond 2^31 - 1', { readinessDelay: 2 ** 31 }, RangeError],
  ["readinessDelay '5000'", { readinessDelay: '5000' }, TypeError],
])('a shutdown with %s is refused at once', (_, wrong, error) => {
  const options = { server: createServer(), pool: new ConnectionsPool(), ...wrong };
  expect(() => gracefulShutdown(options)).toThrow(error);
  const [name] = Object.keys(wrong);
  expect(() => gracefulShutdown(options)).toThrow(new RegExp(`^Expected ${name} to .*, got `));
});

/** Makes both signals start a shutdown that does not end. Returns the spy on what would end the process. */
function listenToBoth() {
  const drainConnections = () => new Promise<never>(() => undefined);
  gracefulShutdown({
    server: createServer(),
    pool: { drainConnections },
    signals: ['SIGUSR2', 'SIGHUP'],
  });
  onTestFinished(() => void process.removeAllListeners('SIGUSR2').removeAllListeners('SIGHUP'));
  return vi.spyOn(process, 'exit').mockReturnValue(undefined as never);
}

test('a signal that repeats within half a second counts once, and later it ends the process', () => {
  const exit = listenToBoth();
  process.emit('SIGUSR2', 'SIGUSR2');
  process.emit('SIGUSR2', 'SIGUSR2');
  vi.advanceTimersByTime(500);
  process.emit('SIGUSR2', 'SIGUSR2');
  expect(exit).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  process.emit('SIGUSR2', 'SIGUSR2');
  expect(exit.mock.calls).toEqual([[128 + constants.signals.SIGUSR2]]);
});

test('a second signal of another kind ends the process at once', () => {
  const exit = listenToBoth();
  process.emit('SIGUSR2', 'SIGUSR2');
  process.emit('SIGHUP', 'SIGHUP');
  expect(exit.mock.calls).toEqual([[129]]);
});

test('a shutdown with an unknown option is refused at once, and the error names the valid ones', () => {
  const options = { server: createServer(), pool: new ConnectionsPool(), signal: ['SIGTERM'] };
  expect(() => gracefulShutdown(options)).toThrow(TypeError);
  expect(() => gracefulShutdown(options)).toThrow(
    'Unknown option `signal` in the shutdown options. Valid options: ' +
      'server, pool, webSocketServer, readinessDelay, drain, retryAfter, signals, onError',
  );
});

test('a shutdown whose drain has a wrong option is refused at once', () => {
  const [server, pool] = [createServer(), new ConnectionsPool()];
  expect(() => gracefulShutdown({ server, pool, drain: { maxPerSecond: 0 } })).toThrow(RangeError);
  const drain = { maxPerSec: 5 } as DrainOptions;
  expect(() => gracefulShutdown({ server, pool, drain })).toThrow('Unknown option `maxPerSec`');
});
