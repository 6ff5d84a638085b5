import { expect, test, vi } from 'vitest';
import {
  hasProgressed,
  isBusy,
  isReadableWs,
  isWsServerSocket,
  progressOf,
  WsDriver,
  type WsSocket,
} from '../../src/sockets/ws.js';
import { driverOf } from '../../src/sockets/probe.js';
import { FakeWsSocket, type FakeAgreement } from '../support/fake-ws-socket.js';

/** A socket of `ws` and its driver; `_sender` and `_socket` may have other members. */
function wsSocket({
  agreement,
  sender = {},
  tcp = {},
}: { agreement?: FakeAgreement; sender?: object; tcp?: object } = {}) {
  const fake = new FakeWsSocket(agreement);
  const driver = new WsDriver(driverOf(fake, undefined).capabilities);
  Object.assign(fake._sender, sender);
  Object.assign(fake._socket, tcp);
  return { fake, driver, socket: fake as unknown as WsSocket };
}

test.each<[what: string, may: boolean, change: (fake: FakeWsSocket) => unknown]>([
  ['nothing special', true, () => undefined],
  ['a close that has begun', false, (fake) => (fake.readyState = 2)],
  ['a fragmented message of its owner open', false, (fake) => (fake._sender._firstFragment = false)],
  ['something in the queue of ws', false, (fake) => fake._sender._queue.push('x')],
  ['ws compressing a message', false, (fake) => Object.assign(fake._sender, { _state: 1 })],
  [
    'an older ws that compresses nothing',
    true,
    ({ _sender }) => Object.assign(_sender, { _state: undefined, _deflating: false }),
  ],
  [
    'an older ws compressing a message',
    false,
    ({ _sender }) => Object.assign(_sender, { _state: undefined, _deflating: true }),
  ],
])('whole frames may be written to a socket with %s: %s', (_, may, change) => {
  const { fake, driver, socket } = wsSocket();
  change(fake);
  expect(driver.canWrite(socket)).toBe(may);
});

test('a socket is inside a message between the fragments of its owner', () => {
  const { fake, driver, socket } = wsSocket();
  expect(driver.isInsideMessage(socket)).toBe(false);
  fake._sender._firstFragment = false;
  expect(driver.isInsideMessage(socket)).toBe(true);
});

test('several chunks are written between cork() and uncork(), also if one throws, and a single one without', () => {
  const { driver, fake, socket } = wsSocket();
  const calls: string[] = [];
  const tcp = fake._socket;
  vi.spyOn(tcp, 'cork').mockImplementation(() => calls.push('cork'));
  vi.spyOn(tcp, 'uncork').mockImplementation(() => calls.push('uncork'));
  vi.spyOn(tcp, 'write').mockImplementation((chunk) => {
    if (chunk.length === 0) throw new Error('broken');
    return calls.push(String(chunk)) > 0;
  });
  driver.write(socket, [Buffer.from('one')]);
  expect(calls.splice(0)).toEqual(['one']);
  driver.write(socket, [Buffer.from('a'), Buffer.from('b')]);
  expect(calls.splice(0)).toEqual(['cork', 'a', 'b', 'uncork']);
  expect(() => driver.write(socket, [Buffer.from('a'), Buffer.alloc(0)])).toThrow('broken');
  expect(calls).toEqual(['cork', 'a', 'uncork']);
});

test('a close takes away the deadline that ws sets for its answer', () => {
  vi.useFakeTimers();
  const { fake, driver } = wsSocket();
  const expired = vi.fn();
  driver.close(fake, 4000, 'without a timer');
  Object.assign(fake, { _closeTimer: setTimeout(expired, 30_000) });
  driver.close(fake, 4001, 'bye');
  vi.advanceTimersByTime(60_000);
  vi.useRealTimers();
  expect(expired).not.toHaveBeenCalled();
  expect(fake.closes).toEqual([
    { code: 4000, reason: 'without a timer' },
    { code: 4001, reason: 'bye' },
  ]);
});

test('bytes wait in the stream and in the queue of ws', () => {
  const { driver, socket } = wsSocket({ sender: { _bufferedBytes: 5 }, tcp: { writableLength: 20 } });
  expect(driver.bufferedBytes(socket)).toBe(25);
});

test('the bytes that a stream was given are those that it has dispatched and those that wait', () => {
  const known = {
    _bytesDispatched: 100,
    writableLength: 30,
    _writableState: { writelen: 10 },
    bytesWritten: 7,
  };
  const given = (tcp: object): number => {
    const { driver, socket } = wsSocket({ tcp });
    return driver.bytesGiven(socket);
  };
  expect(given(known)).toBe(120);
  for (const unknown of [
    { _bytesDispatched: undefined },
    { _writableState: {} },
    { _writableState: undefined },
  ])
    expect(given({ ...known, ...unknown })).toBe(7);
});

test('writes wait in the queue of the stream and in that of ws', () => {
  const queued = (tcp: object): number => {
    const { driver, socket, fake } = wsSocket({ tcp });
    fake._sender._queue.push('x');
    return driver.queuedWrites(socket);
  };
  expect(queued({ _writableState: { bufferedRequestCount: 3 } })).toBe(4);
  expect([queued({ _writableState: {} }), queued({ _writableState: undefined })]).toEqual([1, 1]);
});

test('a stream that needs no drain does not promise to call back, and one that does calls back at its drain', () => {
  const { driver, socket, fake } = wsSocket();
  const once = vi.spyOn(fake._socket, 'once');
  const listener = (): void => undefined;
  expect(driver.onceDrained(socket, listener)).toBe(false);
  expect(once).not.toHaveBeenCalled();
  fake._socket.writableNeedDrain = true;
  expect(driver.onceDrained(socket, listener)).toBe(true);
  expect(once.mock.calls).toEqual([['drain', listener]]);
});

test('what was agreed about compression is read from the socket, with its defaults', () => {
  const agreed = (agreement?: FakeAgreement, params = {}, options: unknown = {}) => {
    const { driver, socket, fake } = wsSocket({ agreement: agreement! });
    const deflate = fake._sender._extensions['permessage-deflate'];
    if (deflate) Object.assign(deflate, { _options: options, _threshold: 7 });
    Object.assign(deflate?.params ?? {}, params);
    return driver.agreementOf(socket);
  };
  const defaults = { windowBits: 15, thresholdBytes: 7, level: undefined, memLevel: undefined };
  expect(agreed()).toBeUndefined();
  expect(agreed('stateless')).toEqual({ ...defaults, isStateless: true });
  expect(agreed('takeover')).toEqual({ ...defaults, isStateless: false });
  expect(agreed('stateless', {}, undefined)).toEqual({ ...defaults, isStateless: true });
  expect(
    agreed('stateless', { server_max_window_bits: 12 }, { zlibDeflateOptions: { level: 3, memLevel: 4 } }),
  ).toEqual({ isStateless: true, windowBits: 12, thresholdBytes: 7, level: 3, memLevel: 4 });
});

test('a compressor that is taken over is told to forget its window after each message, once, and tells who used it', () => {
  const { driver, socket, fake } = wsSocket({ agreement: 'takeover' });
  const deflate = fake._sender._extensions['permessage-deflate']!;
  const compress = vi.spyOn(Object.getPrototypeOf(deflate) as typeof deflate, 'compress');
  const reset = vi.fn();
  Object.assign(deflate, { _deflate: { reset } });
  const window = driver.adoptDeflate(socket);
  expect(window).toEqual({ owner: undefined });
  expect(driver.adoptDeflate(socket)).toBe(window);
  expect(reset).toHaveBeenCalledOnce();
  expect(deflate.params.server_no_context_takeover).toBe(true);
  // It shares a window all the same.
  expect(driver.agreementOf(socket)!.isStateless).toBe(false);
  window!.owner = 'us';
  (deflate as { compress(...args: unknown[]): void }).compress('data', true, 'callback');
  expect(window!.owner).toBeUndefined();
  expect(compress.mock.calls).toEqual([['data', true, 'callback']]);
});

test.each([
  ['a new ws that is compressing', { _state: 1 }, false],
  ['an old ws that is compressing', { _state: undefined, _deflating: true }, false],
  ['an old ws that is not', { _state: undefined, _deflating: false }, true],
])('the window of %s is reset when it is taken over: %o, %s', (_, sender, isReset) => {
  const { driver, socket, fake } = wsSocket({ agreement: 'takeover', sender });
  const reset = vi.fn();
  Object.assign(fake._sender._extensions['permessage-deflate']!, { _deflate: { reset } });
  expect(driver.adoptDeflate(socket)).toBeDefined();
  expect(reset).toHaveBeenCalledTimes(isReset ? 1 : 0);
});

test('a socket without a compressor has none that could be taken over', () => {
  const [plain, unknown] = [wsSocket(), wsSocket({ agreement: 'takeover' })];
  Object.assign(unknown.fake._sender._extensions['permessage-deflate']!, { compress: undefined });
  for (const { driver, socket } of [plain, unknown]) expect(driver.adoptDeflate(socket)).toBeUndefined();
});

test('a message that is sent through ws goes uncompressed', () => {
  const { driver, socket, fake } = wsSocket();
  const send = vi.spyOn(fake, 'send');
  driver.sendPlain(socket, 'text', false);
  driver.sendPlain(socket, Buffer.of(1), true);
  expect(send.mock.calls).toEqual([
    ['text', { binary: false, compress: false }],
    [Buffer.of(1), { binary: true, compress: false }],
  ]);
});

test.each([
  ['nothing', {}, 0, false],
  ['bytes that wait for it', {}, 1, true],
  ['half a frame', { _bufferedBytes: 1 }, 0, true],
  ['a header', { _state: 1 }, 0, true],
  ['a fragmented message', { _fragmented: 1 }, 0, true],
])('a peer in the middle of %s is busy: %o, %i, %s', (_, receiver, waiting, isSo) => {
  const { socket, fake } = wsSocket({ tcp: { writableLength: waiting } });
  Object.assign(fake._receiver, receiver);
  expect(isBusy(socket)).toBe(isSo);
});

test.each([null, undefined, {}])(
  'a socket whose receiver is %o is busy only while bytes wait for its peer',
  (receiver) => {
    const { socket, fake } = wsSocket();
    Object.assign(fake, { _receiver: receiver });
    expect(isBusy(socket)).toBe(false);
    fake._socket.writableLength = 1;
    expect(isBusy(socket)).toBe(true);
  },
);

test.each([
  ['nothing has happened', {}, false],
  ['bytes have arrived', { bytesRead: 11 }, true],
  ['a write has completed', { bytesWritten: 101 }, true],
  ['something was written that waits', { bytesWritten: 150, writableLength: 70 }, false],
  ['the system has taken a part of a write', { _handle: { writeQueueSize: 4 } }, true],
  ['more waits in the system', { _handle: { writeQueueSize: 6 } }, false],
])('a peer has made progress when %s: %o, %s', (_, later, isSo) => {
  const before = { bytesRead: 10, bytesWritten: 100, writableLength: 20, _handle: { writeQueueSize: 5 } };
  const { socket, fake } = wsSocket({ tcp: before });
  const earlier = progressOf(socket);
  expect(earlier).toEqual({ bytesRead: 10, bytesTaken: 80, bytesQueued: 5 });
  Object.assign(fake._socket, later);
  expect(hasProgressed(socket, earlier)).toBe(isSo);
});

test('bytes that are taken say nothing of a peer for which none waited', () => {
  const { socket, fake } = wsSocket({ tcp: { bytesWritten: 100, _handle: null } });
  const earlier = progressOf(socket);
  expect(earlier.bytesQueued).toBe(0);
  fake._socket.bytesWritten = 200;
  expect(hasProgressed(socket, earlier)).toBe(false);
});

test('a socket is only taken for one of ws with all the members that a direct write needs', () => {
  const shapeOf = (change: (fake: FakeWsSocket & Record<string, unknown>) => unknown): [boolean, boolean] => {
    const fake = new FakeWsSocket('stateless');
    change(fake as never);
    return [isWsServerSocket(fake), isReadableWs(fake)];
  };
  const deflateOf = ({ _sender }: FakeWsSocket): object => _sender._extensions['permessage-deflate']!;
  expect(shapeOf(() => undefined)).toEqual([true, true]);
  expect(shapeOf((fake) => Object.assign(fake._sender, { _extensions: {} }))).toEqual([true, true]);
  expect(shapeOf((fake) => Object.assign(fake._sender, { _state: undefined, _deflating: true }))).toEqual([
    true,
    true,
  ]);
  // A client can be looked at, but its frames would have to be masked.
  expect(shapeOf((fake) => Object.assign(fake, { _isServer: false }))).toEqual([false, true]);
  expect(shapeOf((fake) => Object.assign(fake, { _isServer: 'yes' }))).toEqual([false, false]);
  for (const value of [undefined, null, 5, 'x']) {
    expect(shapeOf((fake) => Object.assign(fake, { _socket: value }))).toEqual([false, false]);
    expect(shapeOf((fake) => Object.assign(fake, { _sender: value }))).toEqual([false, true]);
    for (const name of ['write', 'cork', 'uncork', 'once'])
      expect(shapeOf((fake) => Object.assign(fake._socket, { [name]: value }))).toEqual([false, false]);
    for (const name of ['_queue', '_extensions'])
      expect(shapeOf((fake) => Object.assign(fake._sender, { [name]: value }))).toEqual([false, true]);
    for (const name of ['params', '_options'])
      expect(shapeOf((fake) => Object.assign(deflateOf(fake), { [name]: value }))).toEqual([false, true]);
  }
  for (const value of [undefined, null, 'x']) {
    expect(shapeOf((fake) => Object.assign(fake._socket, { writableLength: value }))).toEqual([false, false]);
    for (const name of ['_firstFragment', '_bufferedBytes', '_state'])
      expect(shapeOf((fake) => Object.assign(fake._sender, { [name]: value }))).toEqual([false, true]);
    expect(shapeOf((fake) => Object.assign(deflateOf(fake), { _threshold: value }))).toEqual([false, true]);
  }
  expect(
    shapeOf((fake) => Object.assign(fake._sender, { _extensions: { 'permessage-deflate': null } })),
  ).toEqual([false, true]);
  expect(shapeOf((fake) => (fake.send = () => undefined))).toEqual([false, true]);
});
