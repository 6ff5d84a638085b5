import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { Connection } from '../../src/index.js';
import { driverOf } from '../../src/sockets/probe.js';
import { connectInMemory } from '../support/memory-socket.js';
import { record } from '../support/record.js';
import { watchUnhandled } from '../support/unhandled.js';

describe('a plain object as a socket', () => {
  function wrap(overrides: object = {}) {
    const calls: unknown[][] = [];
    const socket = {
      send: (...args: unknown[]): unknown => void calls.push(['send', ...args]),
      close: (...args: unknown[]): unknown => void calls.push(['close', ...args]),
      ...overrides,
    };
    const connection = new Connection('1', 'default', socket);
    return { calls, connection, events: record(connection) };
  }

  test('a plain object gets each message once as the only argument, and then the close', async () => {
    const { calls, connection, events } = wrap();
    expect(await connection.send('one')).toBe(true);
    void connection.send('two');
    const closed = connection.close(4000, 'bye');
    connection.handleClose(4000, 'bye');
    await closed;
    expect(calls).toEqual([
      ['send', 'one'],
      ['send', 'two'],
      ['close', 4000, 'bye'],
    ]);
    expect(events).toEqual([['close', 4000, 'bye']]);
  });

  test('handleClose() without arguments reports a close without a code', () => {
    const { connection, events } = wrap();
    connection.handleClose();
    expect(events).toEqual([['close', 1005, '']]);
  });

  test('events that an owner forwards after the close are ignored', () => {
    const { connection, events } = wrap();
    connection.handleClose(1000, '');
    connection.handleMessage('late');
    connection.handleClose(4000, 'again');
    expect(events).toEqual([['close', 1000, '']]);
  });

  test('close() of a plain object waits for handleClose(), not for the promise of its close', async () => {
    const { connection, events } = wrap({ close: () => Promise.resolve() });
    const closed = connection.close(4000, 'bye');
    await nextTurn();
    expect(events).toEqual([]);
    connection.handleClose(4001, 'from the owner');
    await closed;
    expect(events).toEqual([['close', 4001, 'from the owner']]);
  });

  test('a function with send and close is a socket', async () => {
    const calls: unknown[][] = [];
    const socket = Object.assign(() => undefined, {
      send: (...args: unknown[]) => void calls.push(['send', ...args]),
      close: (...args: unknown[]) => void calls.push(['close', ...args]),
    });
    const connection = new Connection('1', 'default', socket);
    expect(await connection.send('x')).toBe(true);
    void connection.close(4000, 'bye');
    connection.handleClose(4000, 'bye');
    expect(calls).toEqual([
      ['send', 'x'],
      ['close', 4000, 'bye'],
    ]);
  });

  test('terminate() of a plain object closes our side at once', () => {
    const { connection, events } = wrap();
    connection.terminate();
    expect(connection.closed).toBe(true);
    expect(events).toEqual([['close', 1006, '']]);
  });

  test('a send that throws resolves false and is an error event', async () => {
    const failure = new Error('broken pipe');
    const { connection, events } = wrap({
      send: () => {
        throw failure;
      },
    });
    expect(await connection.send('x')).toBe(false);
    expect(events).toEqual([['error', failure]]);
  });

  // The promise used to be dropped, and its rejection ended the process.
  test('a send that returns a promise resolves true when it resolves, and false when it rejects', async () => {
    const unhandled = watchUnhandled();
    const failure = new Error('gone');
    const answers = [() => Promise.resolve(), () => Promise.reject(failure)];
    const { connection, events } = wrap({ send: () => answers.shift()?.() });
    const sent = await Promise.all([connection.send('good'), connection.send('bad')]);
    expect(await unhandled.settle()).toEqual([]);
    expect(sent).toEqual([true, false]);
    expect(events).toEqual([['error', failure]]);
  });

  test('a close that throws or rejects is an error event, and the connection closes with 1006', async () => {
    const unhandled = watchUnhandled();
    const failure = new Error('cannot close');
    const throwing = (): never => {
      throw failure;
    };
    for (const close of [throwing, () => Promise.reject(failure)]) {
      const { connection, events } = wrap({ close });
      await connection.close();
      expect(events).toEqual([
        ['error', failure],
        ['close', 1006, ''],
      ]);
    }
    expect(await unhandled.settle()).toEqual([]);
  });

  test.each([
    ['undefined', undefined],
    ['null', null],
    ['a string', 'ws://'],
    ['an object without send', { close: () => undefined }],
    ['an object without close', { send: () => undefined }],
  ])('a socket of %s is a TypeError', (_, socket) => {
    expect(() => new Connection('1', 'default', socket)).toThrow(TypeError);
  });
});

describe('a standard socket that cannot be terminated', () => {
  test('a terminate() that throws is an error event, and the connection closes all the same', () => {
    const socket = {
      send: () => undefined,
      close: () => undefined,
      terminate: () => {
        throw new Error('cannot be ended');
      },
    };
    const connection = new Connection('1', 'default', socket);
    const [errors, codes]: [string[], number[]] = [[], []];
    connection.on('error', ({ message }) => errors.push(message));
    connection.on('close', (code) => codes.push(code));
    connection.terminate();
    expect(errors).toEqual(['cannot be ended']);
    expect(codes).toEqual([1006]);
  });

  test('a terminate() that throws on a socket with close events closes the connection at once', () => {
    const { connection, socket } = connectInMemory();
    const events = record(connection);
    const failure = new Error('cannot be ended');
    socket.terminate = () => {
      throw failure;
    };
    connection.terminate();
    expect(events).toEqual([
      ['error', failure],
      ['close', 1006, ''],
    ]);
  });
});

// The global WebSocket of Bun can ping and emits an event for the pong. Nobody listened to it: the heartbeat pinged,
// received nothing and terminated every client that sent nothing else.
test('the pong event of an event target that can ping counts as a pong', () => {
  class PingingSocket extends EventTarget {
    send(): void {
      // Nothing is sent here.
    }
    close(): void {
      // Nor closed.
    }
    ping(): void {
      this.dispatchEvent(new Event('pong'));
    }
  }
  const socket = new PingingSocket();
  const connection = new Connection<string, string, PingingSocket>('1', 'default', socket);
  expect(connection.capabilities).toMatchObject({ events: 'event-target', ping: true });
  const events = record(connection);
  socket.ping();
  expect(events).toEqual([['pong']]);
});

describe('the driver of standard sockets', () => {
  const call = (): undefined => undefined;
  const withMembers = (members: object) => {
    const socket = { send: call, close: call, ...members };
    return { socket, driver: driverOf(socket, undefined) };
  };

  test('a socket that cannot be terminated is closed without a code, which no state forbids', async () => {
    const unhandled = watchUnhandled();
    const close = vi.fn<(...args: unknown[]) => unknown>();
    const { driver, socket } = withMembers({ close });
    expect(driver.terminate(socket)).toBe(false);
    close.mockImplementation(() => Promise.reject(new Error('later')));
    expect(driver.terminate(socket)).toBe(false);
    close.mockImplementation(() => {
      throw new Error('at once');
    });
    expect(driver.terminate(socket)).toBe(false);
    expect(close.mock.calls).toEqual([[], [], []]);
    expect(driver.terminate({})).toBe(false);
    expect(await unhandled.settle()).toEqual([]);
  });

  test('a socket that can be terminated is not closed as well', () => {
    const [close, terminate] = [vi.fn(), vi.fn()];
    const { driver, socket } = withMembers({ close, terminate });
    expect(driver.terminate(socket)).toBe(true);
    expect([close.mock.calls, terminate.mock.calls]).toEqual([[], [[]]]);
  });

  test('a socket that tells neither how much waits in it nor its state counts as empty and open', () => {
    const silent = withMembers({});
    expect([silent.driver.bufferedAmount(silent.socket), silent.driver.readyState(silent.socket)]).toEqual([
      0, 1,
    ]);
    const unsure = withMembers({ bufferedAmount: undefined, readyState: undefined });
    expect([unsure.driver.bufferedAmount(unsure.socket), unsure.driver.readyState(unsure.socket)]).toEqual([
      0, 1,
    ]);
    const telling = withMembers({ bufferedAmount: 7, readyState: 3 });
    expect([
      telling.driver.bufferedAmount(telling.socket),
      telling.driver.readyState(telling.socket),
    ]).toEqual([7, 3]);
  });

  test.each<[what: string, cork: ((run: () => void) => void) | undefined, corks: number]>([
    ['cannot cork', undefined, 0],
    ['corks', (run) => run(), 1],
    ['does not call back', () => undefined, 1],
    [
      'throws before it calls back',
      () => {
        throw new Error('gone');
      },
      1,
    ],
    [
      'throws after it has called back',
      (run) => {
        run();
        throw new Error('gone');
      },
      1,
    ],
  ])('what is sent in a cork is sent once by a socket that %s', (_, cork, corks) => {
    const spy = vi.fn(cork);
    const { driver, socket } = withMembers(cork === undefined ? {} : { cork: spy });
    const sends = vi.fn();
    driver.cork(socket, sends);
    expect(sends).toHaveBeenCalledOnce();
    expect(spy).toHaveBeenCalledTimes(corks);
  });
});
