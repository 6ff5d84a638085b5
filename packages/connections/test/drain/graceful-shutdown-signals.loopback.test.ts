import { once } from 'node:events';
import { expect, test, vi } from 'vitest';
import { onTestFinished } from '../support/on-test-finished.js';
import { start, connect, upgradeRaw } from '../support/shutdown.js';
import { watchUnhandled, withhold } from '../support/unhandled.js';

test('a shutdown listens to no signals unless asked', async () => {
  const listeners = (): unknown[] => process.eventNames().map((name) => [name, process.listenerCount(name)]);
  const before = listeners();
  await start(0);
  expect(listeners()).toEqual(before);
});

const broken = {
  signals: ['SIGUSR2', 'SIGHUP'],
  pool: { drainConnections: () => Promise.reject(new Error('broken')) },
} as const;

/** Removes the signal listeners when the test has ended, and keeps this process alive, which a shutdown lets end. */
function forgetSignals(): void {
  onTestFinished(() => {
    process.removeAllListeners('SIGUSR2').removeAllListeners('SIGHUP');
    process.channel?.ref();
  });
}

test('onError gets the failure of a shutdown that a signal began, and the next signal ends the process', async () => {
  forgetSignals();
  const exit = vi.spyOn(process, 'exit').mockReturnValue(undefined as never);
  onTestFinished(() => exit.mockRestore());
  const errors: unknown[] = [];
  const { port, shutdown } = await start(0, { ...broken, onError: (error) => errors.push(error) });
  process.emit('SIGUSR2', 'SIGUSR2');
  process.emit('SIGUSR2', 'SIGUSR2');
  await new Promise((resolve) => setImmediate(resolve));
  expect(errors).toEqual([new Error('broken')]);
  expect(shutdown.isReady).toBe(false);
  expect(await upgradeRaw(port)).toContain('503');
  expect(exit).not.toHaveBeenCalled();
  process.emit('SIGHUP', 'SIGHUP');
  expect(exit.mock.calls).toEqual([[129]]);
});

test('a shutdown that fails after a signal is an unhandled rejection without an onError', async () => {
  forgetSignals();
  withhold('unhandledRejection');
  await start(0, broken);
  const rejection = once(process, 'unhandledRejection');
  process.emit('SIGUSR2', 'SIGUSR2');
  expect((await rejection)[0]).toEqual(new Error('broken'));
});

test('an aborted shutdown is not a failure, and the next signal begins another one', async () => {
  // The signal ended the process, and with it all the clients that were to stay.
  forgetSignals();
  const { reasons, settle } = watchUnhandled();
  const abort = new AbortController();
  const { server, port, shutdown } = await start(1, {
    signals: ['SIGUSR2'],
    readinessDelay: 200,
    drain: { signal: abort.signal },
  });
  process.emit('SIGUSR2', 'SIGUSR2');
  expect(shutdown.isReady).toBe(false);
  abort.abort('stay');
  await settle();
  expect(reasons).toEqual([]);
  expect(shutdown.isReady).toBe(true);
  await connect(port);
  process.emit('SIGUSR2', 'SIGUSR2');
  expect(shutdown.isReady).toBe(false);
  expect(await shutdown.shutdown()).toMatchObject({ closed: 2 });
  expect(server.listening).toBe(false);
});
