import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import { Connection, ConnectionsPool, type RemoteConnection } from '../src/index.js';
import { Loopback, type Client } from './support/loopback.js';
import { watchUnhandled } from './support/unhandled.js';

interface RemotePlayer extends RemoteConnection<number> {
  readonly score: number;
}

/** As an application would write it: numeric ids, text only, a field, and a word in everything that leaves. */
class Player extends Connection<number, string, WebSocket> {
  score = 0;
  readonly closings: (readonly [code: number | undefined, reason: string | undefined])[] = [];

  override send(message: string): Promise<boolean> {
    return super.send(`<${message}>`);
  }

  override async close(code?: number, reason = ''): Promise<void> {
    this.closings.push([code, reason]);
    await super.close(code, `player: ${reason}`);
  }

  override toRemote(instanceId?: string): RemotePlayer {
    return { ...super.toRemote(instanceId), score: this.score };
  }
}

/** Waits before it sends, as one that looks something up first. */
class ThoughtfulPlayer extends Player {
  override async send(message: string): Promise<boolean> {
    await Promise.resolve();
    return super.send(message);
  }
}

class Lobby extends ConnectionsPool<string, Player> {
  readonly joined: number[] = [];

  override async newConnection(player: Player): Promise<void> {
    if (player.score < 0) throw new Error('Banned');
    await super.newConnection(player);
    this.joined.push(player.id);
  }
}

type PlayerClass = new (id: number, namespace: string, socket: WebSocket) => Player;

async function join(
  lobby: ConnectionsPool<string, Player>,
  id: number,
  PlayerOf: PlayerClass = Player,
): Promise<{ readonly player: Player; readonly client: Client }> {
  const loopback = await Loopback.start();
  const { client, socket } = await loopback.pair();
  const player = new PlayerOf(id, 'game', socket);
  await lobby.newConnection(player);
  return { player, client };
}

describe('a subclass of Connection', () => {
  test('is what the pool holds and hands out, with its fields', async () => {
    const lobby = new Lobby();
    const { player } = await join(lobby, 7);
    player.score = 12;
    expect(lobby.getConnection('game', 7)).toBe(player);
    expect(lobby.getConnection('game', 7)?.score).toBe(12);
    expect(player.toRemote('node-1')).toEqual({ id: 7, namespace: 'game', instanceId: 'node-1', score: 12 });
    // Strictly: data for other nodes has no key without a value.
    expect(player.toRemote()).toStrictEqual({ id: 7, namespace: 'game', score: 12 });
    expect(player).toBeInstanceOf(Connection);
  });

  test('is passed to the listeners of the pool', async () => {
    const lobby = new Lobby();
    const seen: Player[] = [];
    lobby.on('connection', (player) => seen.push(player));
    lobby.on('disconnection', (player) => seen.push(player));
    const { player } = await join(lobby, 7);
    await player.close();
    expect(seen).toEqual([player, player]);
  });
});

describe('an overridden send', () => {
  const ways: readonly [
    title: string,
    send: (lobby: Lobby, player: Player) => Promise<unknown>,
    text: string,
  ][] = [
    ['send', (_, player) => player.send('x'), '<x>'],
    ['sendJson', (_, player) => player.sendJson({ a: 1 }), '<{"a":1}>'],
    ['sendError', (_, player) => player.sendError('x'), '<x>'],
    ['sendThenClose', (_, player) => player.sendThenClose('x'), '<x>'],
    ['sendJsonThenClose', (_, player) => player.sendJsonThenClose([1]), '<[1]>'],
    ['sendErrorThenClose', (_, player) => player.sendErrorThenClose({ e: 1 }), '<{"e":1}>'],
    ['pool.send', (lobby) => lobby.send('game', 1, 'x'), '<x>'],
    ['pool.sendJson', (lobby) => lobby.sendJson('game', 1, [1]), '<[1]>'],
    ['pool.sendThenClose', (lobby) => lobby.sendThenClose('game', 1, 'x'), '<x>'],
    ['broadcastMessage', (lobby) => lobby.broadcastMessage('game', 'x'), '<x>'],
    ['broadcastJsonMessage', (lobby) => lobby.broadcastJsonMessage('game', [1]), '<[1]>'],
    ['broadcastError', (lobby) => lobby.broadcastError('game', 'x'), '<x>'],
  ];

  test.each(ways)('is used once by %s', async (_title, send, text) => {
    const lobby = new Lobby();
    const { client } = await join(lobby, 1);
    const outcome = send(lobby, lobby.getConnection('game', 1)!);
    expect(await client.next()).toBe(text);
    expect([true, { recipients: 1, sent: 1, dropped: 0, failed: 0 }]).toContainEqual(await outcome);
    expect(client.inbox).toEqual([]);
  });

  test('keeps the order of the calls, whatever mixes', async () => {
    const lobby = new Lobby();
    const { player, client } = await join(lobby, 1);
    void lobby.broadcastMessage('game', 'a');
    void player.send('b');
    void lobby.broadcastMessage('game', 'not for 1', [1]);
    void lobby.broadcastJsonMessage('game', 'c');
    void lobby.send('game', 1, 'd');
    void lobby.broadcastMessage('game', 'e');
    expect(await client.exactly(5)).toEqual(['<a>', '<b>', '<"c">', '<d>', '<e>']);
  });

  test('that waits before it sends keeps the order of broadcasts', async () => {
    const lobby = new Lobby();
    const { client } = await join(lobby, 1, ThoughtfulPlayer);
    const results = ['a', 'b', 'c'].map((text) => lobby.broadcastMessage('game', text));
    expect(await client.exactly(3)).toEqual(['<a>', '<b>', '<c>']);
    for (const result of results) expect(await result).toMatchObject({ recipients: 1, sent: 1, failed: 0 });
  });

  test('that waits before it sends keeps the order of broadcasts and private messages', async () => {
    // The broadcast reached the override at the end of the turn, the private message at once: the second overtook
    // the first.
    const lobby = new Lobby();
    const { player, client } = await join(lobby, 1, ThoughtfulPlayer);
    void lobby.broadcastMessage('game', 'a');
    void player.send('b');
    void lobby.broadcastMessage('game', 'c');
    expect(await client.exactly(3)).toEqual(['<a>', '<b>', '<c>']);
  });

  test.each([
    ['sends at once', Player],
    ['waits first', ThoughtfulPlayer],
  ])('that %s gets what was broadcast out before a close', async (_title, PlayerOf) => {
    // The connection counted as closing while the override was called for what had been waiting: every fatal
    // `broadcastError` was lost on such a subclass, and the client saw only the close.
    const lobby = new Lobby();
    const { client } = await join(lobby, 1, PlayerOf);
    const told = lobby.broadcastMessage('game', 'last words');
    const closed = lobby.closeAll('game', 4000);
    expect(await client.closed).toMatchObject({ code: 4000 });
    expect(client.inbox).toEqual(['<last words>']);
    await expect(told).resolves.toMatchObject({ sent: 1, failed: 0 });
    await closed;
  });

  test('gets a fatal error of a broadcast out before the close', async () => {
    // As above, in one call.
    const lobby = new Lobby();
    const { client } = await join(lobby, 1);
    await lobby.broadcastError('game', 'fatal', 4000);
    expect(await client.closed).toMatchObject({ code: 4000 });
    expect(client.inbox).toEqual(['<fatal>']);
  });

  test('that throws or rejects fails for its own connection only', async () => {
    class Mute extends Player {
      override send(): Promise<boolean> {
        throw new Error('mute');
      }
    }
    class Rejecting extends Player {
      override send(): Promise<boolean> {
        return Promise.reject(new Error('rejecting'));
      }
    }
    const { reasons, settle } = watchUnhandled();
    const lobby = new Lobby();
    const errors: string[] = [];
    lobby.on('error', ({ message }, player) => errors.push(`${message} ${player?.id}`));
    await join(lobby, 1, Mute);
    await join(lobby, 2, Rejecting);
    const { client } = await join(lobby, 3);
    await expect(lobby.broadcastMessage('game', 'x')).resolves.toEqual({
      recipients: 3,
      sent: 1,
      dropped: 0,
      failed: 2,
    });
    expect(await client.exactly(1)).toEqual(['<x>']);
    await settle();
    expect(errors.toSorted()).toEqual(['mute 1', 'rejecting 2']);
    expect(reasons).toEqual([]);
  });

  test('decorates what handlers get as well', async () => {
    const loopback = await Loopback.start();
    const { socket } = await loopback.pair();
    const sent: string[] = [];
    const player = new Player(1, 'game', socket, {
      send: (message) => sent.push(message),
      close: () => undefined,
    });
    const lobby = new Lobby();
    await lobby.newConnection(player);
    await lobby.broadcastMessage('game', 'all');
    await player.send('one');
    expect(sent).toEqual(['<all>', '<one>']);
  });

  test('sends nothing that comes from within the last messages before a close', async () => {
    const loopback = await Loopback.start();
    const { socket } = await loopback.pair();
    const outcomes: Promise<boolean>[] = [];
    const player: Player = new Player(1, 'game', socket, {
      send: (message) => {
        if (message === '<second>') outcomes.push(player.send('too late'));
        if (message !== '<first>') return;
        outcomes.push(player.send('second'));
        void player.close(4000);
      },
      close: () => undefined,
    });
    outcomes.unshift(player.send('first'));
    expect(await Promise.all(outcomes)).toEqual([true, true, false]);
  });
});

describe('an overridden close', () => {
  const ways: readonly [
    title: string,
    close: (lobby: Lobby, player: Player) => Promise<unknown>,
    code: number,
    reason: string,
  ][] = [
    ['close', (_, player) => player.close(4000, 'a'), 4000, 'a'],
    ['sendThenClose', (_, player) => player.sendThenClose('x', 4000, 'a'), 4000, 'a'],
    ['sendErrorThenClose', (_, player) => player.sendErrorThenClose('x', 4000, 'a'), 4000, 'a'],
    ['sendError with a code', (_, player) => player.sendError('x', 4000, 'a'), 4000, 'a'],
    ['pool.close', (lobby) => lobby.close('game', 1, 4000, 'a'), 4000, 'a'],
    ['pool.sendThenClose', (lobby) => lobby.sendThenClose('game', 1, 'x', 4000, 'a'), 4000, 'a'],
    ['closeAll', (lobby) => lobby.closeAll('game', 4000, 'a'), 4000, 'a'],
    ['broadcastError with a code', (lobby) => lobby.broadcastError('game', 'x', 4000, 'a'), 4000, 'a'],
    ['drainConnections', (lobby) => lobby.drainConnections(10, 'a', 4000), 4000, 'a'],
  ];

  test.each(ways)('is used once by %s', async (_title, close, code, reason) => {
    const lobby = new Lobby();
    const { player, client } = await join(lobby, 1);
    const outcome = close(lobby, player);
    expect(await client.closed).toEqual({ code, reason: `player: ${reason}` });
    await outcome;
    expect(player.closings).toEqual([[code, reason]]);
  });

  test('is used for the idle limit', async () => {
    const lobby = new Lobby({ idleTimeout: 50 });
    const { player, client } = await join(lobby, 1);
    expect(await client.closed).toEqual({ code: 4408, reason: 'player: Idle timeout' });
    expect(player.closings).toHaveLength(1);
  });

  test('is used for a connection that is replaced', async () => {
    const lobby = new Lobby({ onDuplicate: 'replace' });
    const old = await join(lobby, 1);
    const next = await join(lobby, 1);
    expect(await old.client.closed).toMatchObject({ code: 4409 });
    expect(old.player.closings).toHaveLength(1);
    expect(lobby.getConnection('game', 1)).toBe(next.player);
  });

  test('is used for a newcomer while the pool drains', async () => {
    const lobby = new Lobby();
    await lobby.drainConnections(10);
    const loopback = await Loopback.start();
    const { client, socket } = await loopback.pair();
    const late = new Player(1, 'game', socket);
    await expect(lobby.newConnection(late)).rejects.toMatchObject({ code: 'ERR_POOL_DRAINING' });
    expect(await client.closed).toMatchObject({ code: 1013 });
    expect(late.closings).toHaveLength(1);
  });
});

/** Ways in which an overridden close can be wrong. */
class Throwing extends Player {
  override close(): Promise<void> {
    throw new Error('close failed');
  }
}
class Rejecting extends Player {
  override close(): Promise<void> {
    return Promise.reject(new Error('close failed'));
  }
}
class NeverSettling extends Player {
  override close(): Promise<void> {
    return new Promise(() => undefined);
  }
}
class DoingNothing extends Player {
  override close(): Promise<void> {
    return Promise.resolve();
  }
}
const wrong: readonly [title: string, PlayerOf: PlayerClass, errors: readonly string[]][] = [
  ['throws', Throwing, ['close failed']],
  ['rejects', Rejecting, ['close failed']],
  ['never settles', NeverSettling, []],
  ['closes nothing', DoingNothing, []],
];

describe('an overridden close that is wrong', () => {
  test.each(wrong)(
    'because it %s keeps closeAll from closing no other',
    async (_title, PlayerOf, expected) => {
      const { reasons, settle } = watchUnhandled();
      const lobby = new Lobby();
      const errors: string[] = [];
      lobby.on('error', ({ message }) => errors.push(message));
      const first = await join(lobby, 1);
      const bad = await join(lobby, 2, PlayerOf);
      const last = await join(lobby, 3);

      const closed = lobby.closeAll('game', 4000);
      expect(await first.client.closed).toMatchObject({ code: 4000 });
      expect(await last.client.closed).toMatchObject({ code: 4000 });
      if (PlayerOf !== NeverSettling) await closed;
      await expect.poll(() => lobby.stats().connections, { timeout: 4_000 }).toBe(1);
      await settle();
      expect(errors).toEqual(expected);
      expect(reasons).toEqual([]);
      // It is a member as before, and can still be reached and ended.
      await expect(lobby.broadcastMessage('game', 'x')).resolves.toMatchObject({ sent: 1 });
      expect(await bad.client.next()).toBe('<x>');
      bad.player.terminate();
      expect(await bad.client.closed).toMatchObject({ code: 1006 });
    },
  );

  test.each(wrong)('because it %s keeps nobody from taking its place', async (_title, PlayerOf, expected) => {
    const { reasons, settle } = watchUnhandled();
    const lobby = new Lobby({ onDuplicate: 'replace' });
    const errors: string[] = [];
    const { player } = await join(lobby, 1, PlayerOf);
    player.on('error', ({ message }) => errors.push(message));
    const next = await join(lobby, 1);
    expect(lobby.getConnection('game', 1)).toBe(next.player);
    expect(lobby.stats().connections).toBe(1);
    await settle();
    expect(errors).toEqual(expected);
    expect(reasons).toEqual([]);
  });

  test('holds no drain up: it is ended when the grace period is over', async () => {
    const { reasons, settle } = watchUnhandled();
    const lobby = new Lobby({ closeTimeout: 50 });
    let id = 0;
    const bad = [];
    for (const [, PlayerOf] of wrong) bad.push(await join(lobby, ++id, PlayerOf));
    const good = await join(lobby, ++id);

    const report = await lobby.drainConnections(10, 'Restart', 4000);
    expect(await good.client.closed).toEqual({ code: 4000, reason: 'player: Restart' });
    for (const { client } of bad) expect(await client.closed).toMatchObject({ code: 1006 });
    expect(report).toMatchObject({ closed: 1, terminated: wrong.length, left: 0 });
    expect(lobby.stats().connections).toBe(0);
    await settle();
    expect(reasons).toEqual([]);
  });

  test('and never answers the idle limit stops no other connection from being idle', async () => {
    const lobby = new Lobby({ idleTimeout: 50 });
    for (const [index, [, PlayerOf]] of wrong.entries()) await join(lobby, index + 1, PlayerOf);
    const good = await join(lobby, 99);
    expect(await good.client.closed).toMatchObject({ code: 4408 });
  });
});

/** Ways in which an overridden terminate can be wrong. */
class Undying extends Player {
  override terminate(): void {
    throw new Error('terminate failed');
  }
}
class Late extends Player {
  // eslint-disable-next-line @typescript-eslint/no-misused-promises -- TypeScript alone lets it pass
  override async terminate(): Promise<void> {
    await Promise.resolve();
    throw new Error('terminate failed');
  }
}
class Reluctant extends Player {
  override terminate(): void {
    // Ends nothing.
  }
}

describe('an overridden terminate that is wrong', () => {
  /** Peers that answer nothing; the second one is behind the first in everything. */
  async function joinMute(lobby: Lobby, PlayerOf: PlayerClass) {
    const bad = await join(lobby, 1, PlayerOf);
    const other = await join(lobby, 2);
    const errors: string[] = [];
    bad.player.on('error', ({ message }) => errors.push(message));
    const closed = [bad, other].map(({ client, player }) => {
      client.socket.pause();
      // Not `once`, which rejects for an error event.
      return new Promise((resolve) => player.on('close', (...args) => resolve(args)));
    });
    return { players: [bad.player, other.player], errors, closed: Promise.all(closed) };
  }

  // It threw out of the timer that all connections of the process share, which never called those behind it again.
  test.each<[string, PlayerClass, string[]]>([
    ['throws', Undying, ['terminate failed']],
    ['rejects', Late, ['terminate failed']],
    ['ends nothing', Reluctant, []],
  ])('because it %s is ended all the same, and so are the others', async (_title, PlayerOf, expected) => {
    const { players, errors, closed } = await joinMute(new Lobby({ closeTimeout: 50 }), PlayerOf);
    for (const player of players) void player.close(4000);
    const ended = [1006, ''];
    expect(await closed).toEqual([ended, ended]);
    expect(errors).toEqual(expected);
  });

  test.each<[string, PlayerClass]>([
    ['throws', Undying],
    ['rejects', Late],
    ['ends nothing', Reluctant],
  ])('because it %s does not fail a drain', async (_title, PlayerOf) => {
    const lobby = new Lobby();
    const { closed } = await joinMute(lobby, PlayerOf);
    expect(await lobby.drainConnections({ deadline: 100 })).toMatchObject({ terminated: 2 });
    await closed;
  });
});

describe('a subclass of ConnectionsPool', () => {
  test('decides in an overridden newConnection who joins', async () => {
    const lobby = new Lobby();
    await join(lobby, 1);
    const loopback = await Loopback.start();
    const { socket } = await loopback.pair();
    const banned = new Player(2, 'game', socket);
    banned.score = -1;
    await expect(lobby.newConnection(banned)).rejects.toThrow('Banned');
    const twin = new Player(1, 'game', socket);
    await expect(lobby.newConnection(twin)).rejects.toMatchObject({ code: 'ERR_DUPLICATE_CONNECTION' });
    expect(lobby.joined).toEqual([1]);
    expect([...lobby.namespace('game').keys()]).toEqual([1]);
    expect(banned.closed).toBe(false);
  });

  test('still forgets by itself whoever leaves', async () => {
    const lobby = new Lobby();
    const { client } = await join(lobby, 1);
    const left = once(lobby, 'disconnection');
    client.socket.close(4000);
    await left;
    expect(lobby.hasNamespace('game')).toBe(false);
  });

  test('may wait before it lets somebody join, who may be gone by then', async () => {
    class SlowLobby extends Lobby {
      override async newConnection(player: Player): Promise<void> {
        await once(player, 'close');
        await super.newConnection(player);
      }
    }
    const lobby = new SlowLobby();
    const loopback = await Loopback.start();
    const { client, socket } = await loopback.pair();
    const joining = lobby.newConnection(new Player(1, 'game', socket));
    client.socket.close();
    await joining;
    expect(lobby.stats()).toMatchObject({ connections: 0, namespaces: 0 });
  });
});
