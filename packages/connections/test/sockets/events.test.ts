import { EventEmitter } from 'node:events';
import { describe, expect, test, vi } from 'vitest';
import { Connection } from '../../src/index.js';
import { hasOtherListeners, listenerOf } from '../../src/sockets/events.js';
import { connectInMemory } from '../support/memory-socket.js';
import { record } from '../support/record.js';

// A closure per listener and connection would cost more than the rest of the connection.
test('all sockets share the same listener functions', () => {
  const [one, two] = [connectInMemory('1'), connectInMemory('2')];
  for (const event of ['message', 'close', 'error', 'ping', 'pong']) {
    expect(one.socket.listeners(event)).toHaveLength(1);
    expect(one.socket.listeners(event)).toEqual(two.socket.listeners(event));
  }
});

// A message that could not be read made the listener throw into the receiver of `ws`, which ended the process.
test('a message that cannot be read is an error event, and the next one arrives', () => {
  const socket = Object.assign(new EventEmitter(), { send: () => undefined, close: () => undefined });
  const connection = new Connection('1', 'default', socket);
  const events = record(connection);

  expect(() => socket.emit('message', 5, true)).not.toThrow();
  socket.emit('message', Buffer.from('next'), false);

  expect(events).toEqual([
    ['error', expect.any(TypeError)],
    ['message', 'next', false],
  ]);
});

test('each kind of event of an emitter arrives', () => {
  const socket = emitter();
  const events = record(new Connection('1', 'default', socket));
  const ping = vi.spyOn(listenerOf(socket)!, 'handlePing');
  const failure = new Error('broken');
  socket.emit('message', Buffer.from('x'), false);
  socket.emit('ping');
  socket.emit('pong');
  socket.emit('error', failure);
  socket.emit('close', 4000, Buffer.from('bye'));
  expect(events).toEqual([['message', 'x', false], ['pong'], ['error', failure], ['close', 4000, 'bye']]);
  expect(ping).toHaveBeenCalledOnce();
});

/** Stand-ins for the two kinds of sockets with events. */
function emitter(): EventEmitter & { send(): void; close(): void } {
  return Object.assign(new EventEmitter(), { send: () => undefined, close: () => undefined });
}
function eventTarget() {
  const target = new EventTarget();
  let listeners = 0;
  const add = target.addEventListener.bind(target);
  const remove = target.removeEventListener.bind(target);
  return Object.assign(target, {
    send: () => undefined,
    close: () => undefined,
    addEventListener: (...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    },
    removeEventListener: (...args: Parameters<typeof remove>) => {
      listeners--;
      remove(...args);
    },
    count: () => listeners,
  });
}

describe('listeners of a released socket', () => {
  test('release() removes every listener from an emitter, also from one that several connections share', () => {
    const socket = emitter();
    const connections = [1, 2, 3].map((id) => new Connection(String(id), 'default', socket));
    expect(socket.listenerCount('message')).toBe(3);
    connections[1]!.release();
    expect(socket.listenerCount('message')).toBe(2);
    connections[0]!.release();
    connections[2]!.release();
    expect(socket.eventNames()).toEqual([]);
    expect(Reflect.ownKeys(socket).filter((key) => String(key).includes('soketi'))).toEqual([]);
  });

  test('release() removes every listener from an event target', () => {
    const socket = eventTarget();
    const connections = [new Connection('1', 'default', socket), new Connection('2', 'default', socket)];
    expect(socket.count()).toBe(10);
    for (const connection of connections) connection.release();
    expect(socket.count()).toBe(0);
  });

  test('a released connection gets no events of its socket, and other connections over the socket still do', () => {
    const socket = emitter();
    const [released, other] = [new Connection('1', 'one', socket), new Connection('2', 'two', socket)];
    const [ofReleased, ofOther] = [record(released), record(other)];
    released.release();
    socket.emit('message', Buffer.from('x'), false);
    socket.emit('pong');
    socket.emit('close', 4000, Buffer.from('bye'));
    expect(ofReleased).toEqual([]);
    expect(ofOther).toEqual([['message', 'x', false], ['pong'], ['close', 4000, 'bye']]);
  });

  const events = [
    ['message', Buffer.from('x'), false],
    ['ping'],
    ['pong'],
    ['error', new Error('the application handles it')],
    ['close', 4000, Buffer.from('bye')],
  ] as const;

  // An emitter uses the list of listeners from the start of the event: it still calls a listener that has been removed
  // since.
  test.each(events)('an earlier listener of the %s event may release the connection', (event, ...args) => {
    const socket = emitter();
    const release = vi.fn(() => {
      for (const connection of connections) connection.release();
    });
    socket.on(event, release);
    const connections = ['1', '2'].map((id) => new Connection(id, 'default', socket));
    const heard = connections.map(record);
    socket.emit(event, ...args);
    expect(release).toHaveBeenCalledOnce();
    expect(heard).toEqual([[], []]);
    expect(connections.map(({ closed }) => closed)).toEqual([true, true]);
  });

  test('a socket without removeEventListener() can be released', () => {
    const socket = { addEventListener: () => undefined, send: () => undefined, close: () => undefined };
    const connection = new Connection('1', 'default', socket);
    expect(() => connection.release()).not.toThrow();
    expect(connection.closed).toBe(true);
  });

  test('an emitter without off() can be released, and a socket whose owner feeds the connection is left alone', () => {
    const emits = { on: () => undefined, send: () => undefined, close: () => undefined };
    expect(() => new Connection('1', 'default', emits).release()).not.toThrow();
    const remove = vi.fn();
    const owned = { send: () => undefined, close: () => undefined, off: remove, removeEventListener: remove };
    new Connection('1', 'default', owned).release();
    expect(remove).not.toHaveBeenCalled();
  });
});

describe('an event target as a socket', () => {
  class Target extends EventTarget {
    send(): void {
      // Nothing is sent here.
    }
    close(): void {
      // Nor closed.
    }
    tell(type: string, members: object = {}): void {
      this.dispatchEvent(Object.assign(new Event(type), members));
    }
  }

  test('each kind of event of an event target arrives', () => {
    const socket = new Target();
    const events = record(new Connection('1', 'default', socket));
    const ping = vi.spyOn(listenerOf(socket)!, 'handlePing');
    const { buffer } = Uint8Array.of(1, 2);
    socket.tell('message', { data: 'text' });
    socket.tell('message', { data: buffer });
    socket.tell('ping');
    socket.tell('pong');
    const failure = new Error('broken');
    for (const members of [
      { error: failure, message: 'not this' },
      { message: 'in words' },
      {},
      { message: '' },
    ])
      socket.tell('error', members);
    socket.tell('close', { code: 4000, reason: 'bye' });
    expect(ping).toHaveBeenCalledOnce();
    expect(events).toEqual([
      ['message', 'text', false],
      ['message', Uint8Array.of(1, 2), true],
      ['pong'],
      ['error', failure],
      ['error', new Error('in words')],
      ['error', new Error('The socket failed')],
      ['error', new Error('The socket failed')],
      ['close', 4000, 'bye'],
    ]);
  });

  test('events of an event target that come after its connection was released by an earlier listener are ignored', () => {
    const socket = new Target();
    for (const type of ['message', 'ping', 'pong', 'error', 'close'])
      socket.addEventListener(type, () => connection.release());
    let connection = new Connection('1', 'default', socket);
    for (const type of ['message', 'ping', 'pong', 'error', 'close']) {
      connection = new Connection('1', 'default', socket);
      const events = record(connection);
      socket.tell(type, { data: 'x' });
      expect(events).toEqual([]);
    }
  });

  test('an event target is asked for ArrayBuffers if it lets one choose', () => {
    const choosing = Object.assign(new Target(), { binaryType: 'blob' });
    const other = new Target();
    for (const socket of [choosing, other]) new Connection('1', 'default', socket);
    expect(choosing.binaryType).toBe('arraybuffer');
    expect('binaryType' in other).toBe(false);
  });

  test('only sockets that call their listeners on themselves are marked, once', () => {
    const sockets = [new Target(), emitter(), eventTarget(), Object.seal(emitter())];
    for (const socket of sockets) new Connection('1', 'default', socket);
    expect(sockets.map((socket) => listenerOf(socket) !== undefined)).toEqual([true, true, false, false]);
    const first = listenerOf(sockets[0]);
    new Connection('2', 'default', sockets[0]!);
    expect(listenerOf(sockets[0])).toBe(first);
  });
});

describe('other listeners for messages of a socket', () => {
  test('the library does not count its own listeners, however many connections share a socket', () => {
    const socket = emitter();
    expect(hasOtherListeners(socket)).toBe(false);
    const connections = ['1', '2', '3'].map((id) => new Connection(id, 'default', socket));
    expect(hasOtherListeners(socket)).toBe(false);
    socket.on('message', () => undefined);
    expect(hasOtherListeners(socket)).toBe(true);
    for (const connection of connections) {
      connection.release();
      expect(hasOtherListeners(socket)).toBe(true);
    }
    socket.removeAllListeners('message');
    expect(hasOtherListeners(socket)).toBe(false);
  });

  test('a socket that does not tell its listeners counts as one without others', () => {
    const socket = eventTarget();
    socket.addEventListener('message', () => undefined);
    expect(hasOtherListeners(socket)).toBe(false);
    expect(hasOtherListeners({ listenerCount: 5 })).toBe(false);
  });
});
