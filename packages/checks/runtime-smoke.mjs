/*
 * The promises of the library, checked on every kind of socket of this runtime.
 *
 * Prints one line of JSON for each: `{ runtime, version, socket, capabilities, direct, results: { [check]: 'ok' | 'n/a:
 * …' | 'failed: …' } }`, and ends by itself. Run by runtimes.mjs, with the packed library and `ws` installed beside it.
 */
import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import { Connection, ConnectionsPool } from '@soketi/connections';
import { hosts, runtime, version } from './runtime-hosts.mjs';

const CHECK_TIMEOUT_MS = 15_000;
const LARGE_BYTES = 1024 * 1024;

/** Thrown by a check of something that this kind of socket cannot do. */
class NotApplicable extends Error {}

function need(condition, why) {
  if (!condition) throw new NotApplicable(why);
}

async function until(condition, what) {
  const deadline = performance.now() + CHECK_TIMEOUT_MS / 2;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`Waited in vain for ${what}`);
    await wait(5);
  }
}

/** A pool whose connections come from the host. */
class World {
  #joined = [];
  #server;
  errors = [];

  constructor(host, options) {
    this.host = host;
    this.pool = new ConnectionsPool(options);
    this.pool.on('error', (error) => this.errors.push(error));
  }

  async start() {
    this.#server = await this.host.listen((...accepted) => this.#accept(...accepted));
    return this;
  }

  /** @param keep takes the connection before it joins, for hosts that forward events to it */
  #accept(socket, keep) {
    const counted = this.host.countSends?.(socket);
    const connection = new Connection(`c${this.#joined.length}`, 'room', socket);
    const joined = { connection, counted, messages: [], closed: undefined };
    joined.closed = new Promise((resolve) =>
      connection.on('close', (code, reason) => resolve({ code, reason })),
    );
    connection.on('message', (data, isBinary) => joined.messages.push([data, isBinary]));
    keep?.(connection);
    joined.answer = this.pool.newConnection(connection);
    this.#joined.push(joined);
  }

  /** One more connection, with its peer. */
  async join(connect = this.#server.connect) {
    const index = this.#joined.length;
    const peer = await connect();
    await until(() => this.#joined.length > index, 'a connection');
    return { peer, ...this.#joined[index] };
  }

  async joinMany(count) {
    const joined = [];
    while (joined.length < count) joined.push(await this.join());
    return joined;
  }

  /** One more connection, whose peer neither reads nor answers. */
  joinMute() {
    return this.join(this.#server.mute);
  }

  /** Fails for a surplus message as well. */
  async got(peer, expected) {
    await until(() => peer.messages.length >= expected.length, `message ${expected.length}`);
    assert.deepEqual(peer.messages.map(readable), expected);
  }

  stop() {
    return this.#server.stop();
  }
}

const readable = (data) => (typeof data === 'string' ? data : [...new Uint8Array(data)]);

const checks = {
  async 'text and binary, both ways'(world) {
    const { peer, connection, messages } = await world.join();
    assert.equal(await connection.send('grüße'), true);
    assert.equal(await connection.send(new Uint8Array([1, 2])), true);
    await world.got(peer, ['grüße', [1, 2]]);
    peer.send('hallo');
    peer.send(new Uint8Array([3]));
    await until(() => messages.length === 2, 'both messages');
    assert.deepEqual(messages[0], ['hallo', false]);
    assert.ok(messages[1][0] instanceof Uint8Array && messages[1][1]);
    assert.deepEqual([...messages[1][0]], [3]);
  },

  async 'broadcast, exceptions, JSON, order'(world, sends) {
    const [a, b, c] = await world.joinMany(3);
    const results = [
      world.pool.broadcastMessage('room', 'one'),
      b.connection.send('private'),
      world.pool.broadcastJsonMessage('room', { two: 2 }, ['c0']),
      world.pool.broadcastMessage('room', new Uint8Array([3])),
      world.pool.broadcastMessage('elsewhere', 'lost'),
    ];
    const counts = (recipients) => ({ recipients, sent: recipients, dropped: 0, failed: 0, conflated: 0 });
    assert.deepEqual(await Promise.all(results), [counts(3), true, counts(2), counts(3), counts(0)]);
    await world.got(a.peer, ['one', [3]]);
    await world.got(b.peer, ['one', 'private', '{"two":2}', [3]]);
    await world.got(c.peer, ['one', '{"two":2}', [3]]);
    sends.broadcast = a.counted?.sends;
  },

  async 'a large message'(world) {
    const { peer } = await world.join();
    const text = 'x'.repeat(LARGE_BYTES);
    await world.pool.broadcastMessage('room', text);
    await until(() => peer.messages.length === 1, 'the message');
    assert.ok(peer.messages[0] === text);
  },

  async 'close codes'(world) {
    const isClosedWith = world.host.isClosedWith ?? (() => true);
    for (const code of [1000, 1001, 1012, 3000, 4999].filter(isClosedWith)) {
      const { peer, connection, closed } = await world.join();
      void connection.send('last');
      await connection.close(code, 'wiedersehen');
      assert.deepEqual(await peer.closed, { code, reason: 'wiedersehen' });
      assert.equal((await closed).code, code);
      await world.got(peer, ['last']);
      assert.equal(await connection.send('late'), false);
    }
    const { peer, closed } = await world.join();
    peer.close(4001, 'left');
    assert.deepEqual(await closed, { code: 4001, reason: 'left' });
    assert.equal(world.pool.hasNamespace('room'), false);
    need(!world.host.isClosedWith, '1000 and 3000-4999 only');
  },

  async terminate(world) {
    const { peer, connection, closed } = await world.join();
    need(connection.capabilities.terminate, 'no `terminate()`');
    connection.terminate();
    assert.equal((await peer.closed).code, 1006);
    assert.equal((await closed).code, 1006);
  },

  heartbeat: {
    options: { heartbeat: { interval: 300, timeout: 300 } },
    async run(world) {
      const { connection } = await world.join();
      need(connection.capabilities.ping, 'no `ping()`');
      await until(() => connection.roundTripTime !== undefined, 'a pong');
      if (world.host.isClient) return;
      const mute = await world.joinMute();
      assert.equal((await mute.closed).code, 1006);
      assert.equal(connection.closed, false);
      mute.peer.destroy();
    },
  },

  'idle limit': {
    options: { idleTimeout: 200 },
    async run(world) {
      const { peer } = await world.join();
      assert.equal((await peer.closed).code, 4408);
    },
  },

  'slow readers': {
    appliesTo: ({ isClient = false }) => !isClient,
    options: { maxBufferedBytes: LARGE_BYTES, onSlow: 'drop' },
    async run(world) {
      const { connection, peer } = await world.joinMute();
      need(connection.capabilities.bufferedAmount, 'no `bufferedAmount`');
      let slow = 0;
      world.pool.on('slow', () => slow++);
      for (let sent = 0; slow === 0 && sent < 2_000; sent++) {
        await world.pool.broadcastMessage('room', 'x'.repeat(LARGE_BYTES / 16));
        await wait(0);
      }
      assert.equal(slow, 1);
      assert.ok(connection.bufferedAmount <= LARGE_BYTES);
      peer.destroy();
    },
  },

  async drain(world) {
    const isClosedWith = world.host.isClosedWith ?? (() => true);
    const code = isClosedWith(1012) ? 1012 : 4012;
    const joined = await world.joinMany(10);
    const refusals = [];
    world.pool.on('refused', ({ id }, error) => refusals.push([id, error.code]));
    const draining = world.pool.drainConnections({ maxPerSecond: 50, interval: 50, code });
    const refused = isClosedWith(1013) ? await world.join() : undefined;
    const { closed, terminated, left } = await draining;
    assert.deepEqual({ closed, terminated, left }, { closed: 10, terminated: 0, left: 0 });
    for (const { peer } of joined) assert.equal((await peer.closed).code, code);
    if (refused) {
      await refused.answer;
      assert.deepEqual(refusals, [[refused.connection.id, 'ERR_POOL_DRAINING']]);
      assert.equal((await refused.peer.closed).code, 1013);
    }
  },

  'one compression for all': {
    appliesTo: ({ isCompressed = false }) => isCompressed,
    options: { compression: { history: true } },
    async run(world, sends) {
      const [a, b] = await world.joinMany(2);
      need(a.peer.isCompressed, 'not negotiated');
      const texts = Array.from({ length: 50 }, (_, index) => `${'state '.repeat(index * 3)}${index}`);
      for (const [index, text] of texts.entries()) {
        void world.pool.broadcastMessage('room', text);
        if (index % 7 === 0) await wait(0);
      }
      await world.got(a.peer, texts);
      await world.got(b.peer, texts);
      sends.compressed = a.counted.sends;
    },
  },
};

/** @param sends the checks record here how often the socket's own `send` was called */
async function runCheck(host, check, sends) {
  const { options, run } = typeof check === 'function' ? { run: check } : check;
  const world = await new World(host, options).start();
  const timer = new AbortController();
  const late = wait(CHECK_TIMEOUT_MS, undefined, { signal: timer.signal }).then(() => {
    throw new Error('No end in time');
  });
  late.catch(() => undefined);
  try {
    await Promise.race([run(world, sends), late]);
    assert.deepEqual(world.errors, []);
    return 'ok';
  } catch (error) {
    const kind = error instanceof NotApplicable ? 'n/a' : 'failed';
    const errors = [error, ...world.errors].map(({ message }) => message.replaceAll(/\s+/g, ' '));
    return `${kind}: ${errors.join('; ')}`;
  } finally {
    timer.abort();
    await world.stop();
  }
}

/** What the library's probe finds out about a socket of this host. */
async function capabilitiesOf(host) {
  const world = await new World(host, {}).start();
  const { connection } = await world.join();
  await world.stop();
  return connection.capabilities;
}

/** The library wrote the frames itself if the socket's own `send` was never called. */
function directPath(host, { broadcast, compressed }) {
  if (!host.countSends) return 'no';
  if (broadcast === 0) return 'yes';
  return compressed === 0 ? 'with history' : 'no';
}

for (const host of hosts) {
  const capabilities = await capabilitiesOf(host);
  const results = {};
  const sends = {};
  for (const [what, check] of Object.entries(checks)) {
    if (check.appliesTo?.(host) ?? true) results[what] = await runCheck(host, check, sends);
  }
  const direct = directPath(host, sends);
  console.log(JSON.stringify({ runtime, version, socket: host.name, capabilities, direct, results }));
}
