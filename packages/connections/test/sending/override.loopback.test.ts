import { describe, expect, test } from 'vitest';
import { type BroadcastResult, Connection, ConnectionsPool, type WebSocketMessage } from '../../src/index.js';
import { endTurn } from '../support/engine.js';
import { Loopback } from '../support/loopback.js';
import { joinLobby, Lobby, Player, ThoughtfulPlayer } from '../support/player.js';
import { watchUnhandled } from '../support/unhandled.js';

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

  test.each(ways)('an overridden send is called once by %s', async (_title, send, text) => {
    const lobby = new Lobby();
    const { client } = await joinLobby(lobby, 1);
    const outcome = send(lobby, lobby.getConnection('game', 1)!);
    expect(await client.next()).toBe(text);
    expect([true, { recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 }]).toContainEqual(
      await outcome,
    );
    expect(client.inbox).toEqual([]);
  });

  test('an overridden send keeps the order of the calls', async () => {
    const lobby = new Lobby();
    const { player, client } = await joinLobby(lobby, 1);
    void lobby.broadcastMessage('game', 'a');
    void player.send('b');
    void lobby.broadcastMessage('game', 'not for 1', [1]);
    void lobby.broadcastJsonMessage('game', 'c');
    void lobby.send('game', 1, 'd');
    void lobby.broadcastMessage('game', 'e');
    expect(await client.exactly(5)).toEqual(['<a>', '<b>', '<"c">', '<d>', '<e>']);
  });

  test('an overridden send that waits keeps the order of broadcasts', async () => {
    const lobby = new Lobby();
    const { client } = await joinLobby(lobby, 1, ThoughtfulPlayer);
    const results = ['a', 'b', 'c'].map((text) => lobby.broadcastMessage('game', text));
    expect(await client.exactly(3)).toEqual(['<a>', '<b>', '<c>']);
    for (const result of results) expect(await result).toMatchObject({ recipients: 1, sent: 1, failed: 0 });
  });

  test('an overridden send that waits keeps the order of broadcasts and private messages', async () => {
    // The broadcast used to reach the override at the end of the turn and the private message at once, so the second
    // overtook the first.
    const lobby = new Lobby();
    const { player, client } = await joinLobby(lobby, 1, ThoughtfulPlayer);
    void lobby.broadcastMessage('game', 'a');
    void player.send('b');
    void lobby.broadcastMessage('game', 'c');
    expect(await client.exactly(3)).toEqual(['<a>', '<b>', '<c>']);
  });

  test('an overridden send that waits gets the bytes of a broadcast as they were when it was broadcast', async () => {
    // It got the caller's own buffer, which the caller may reuse when the call has returned: the client received the
    // bytes of whatever came next.
    class Patient extends Connection {
      override async send(message: WebSocketMessage): Promise<boolean> {
        await Promise.resolve();
        return super.send(message);
      }
    }
    const loopback = await Loopback.start();
    const { client, socket } = await loopback.pair();
    const pool = new ConnectionsPool();
    await pool.newConnection(new Patient('a', 'default', socket));
    const buffer = Buffer.from('first');
    const told = pool.broadcastMessage('default', buffer);
    buffer.write('other');
    expect(await client.exactly(1)).toEqual([Buffer.from('first')]);
    await expect(told).resolves.toMatchObject({ sent: 1 });
  });

  test.each([
    ['sends at once', Player],
    ['waits first', ThoughtfulPlayer],
  ])('an overridden send that %s still sends what was broadcast before a close', async (_title, PlayerOf) => {
    // The connection already counted as closing when the override was called with pending messages. Every fatal
    // `broadcastError` was lost on such a subclass, and the client saw only the close.
    const lobby = new Lobby();
    const { client } = await joinLobby(lobby, 1, PlayerOf);
    const told = lobby.broadcastMessage('game', 'last words');
    const closed = lobby.closeAll('game', 4000);
    expect(await client.closed).toMatchObject({ code: 4000 });
    expect(client.inbox).toEqual(['<last words>']);
    await expect(told).resolves.toMatchObject({ sent: 1, failed: 0 });
    await closed;
  });

  test('an overridden send still sends a fatal broadcastError before the close', async () => {
    // The same in a single call.
    const lobby = new Lobby();
    const { client } = await joinLobby(lobby, 1);
    await lobby.broadcastError('game', 'fatal', 4000);
    expect(await client.closed).toMatchObject({ code: 4000 });
    expect(client.inbox).toEqual(['<fatal>']);
  });

  test('an overridden send that throws or rejects fails only for its own connection', async () => {
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
    await joinLobby(lobby, 1, Mute);
    await joinLobby(lobby, 2, Rejecting);
    const { client } = await joinLobby(lobby, 3);
    await expect(lobby.broadcastMessage('game', 'x')).resolves.toEqual({
      recipients: 3,
      sent: 1,
      dropped: 0,
      failed: 2,
      conflated: 0,
    });
    expect(await client.exactly(1)).toEqual(['<x>']);
    await settle();
    expect(errors.toSorted()).toEqual(['mute 1', 'rejecting 2']);
    expect(reasons).toEqual([]);
  });

  test('an overridden send also decorates what handlers get', async () => {
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

  test('a message that a handler sends during the last messages before a close is not sent', async () => {
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

const ONE_FAILED = { recipients: 1, sent: 0, dropped: 0, failed: 1, conflated: 0 };
const ONE_SENT = { recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 };

class Shouting extends Connection {
  override async send(message: WebSocketMessage): Promise<boolean> {
    return super.send(typeof message === 'string' ? message.toUpperCase() : message);
  }
}

// The connection already counted as closed when its pending broadcasts were passed to the overridden send().
test('an overridden send passes on what is pending when the connection closes', async () => {
  const pool = new ConnectionsPool();
  const { client, socket } = await (await Loopback.start()).pair();
  await pool.newConnection(new Shouting('1', 'default', socket));
  expect(await pool.broadcastError('default', 'going', 1011)).toEqual(ONE_SENT);
  expect((await client.closed).code).toBe(1011);
  expect(client.inbox).toEqual(['GOING']);
});

// Each message that an overridden send() passed on was put before the one that was already waiting.
test('an overridden send keeps its order before and after an open fragmented message', async () => {
  const pool = new ConnectionsPool();
  const { client, socket } = await (await Loopback.start()).pair();
  await pool.newConnection(new Shouting('1', 'default', socket));
  const broadcast = (texts: string): Promise<BroadcastResult[]> =>
    Promise.all(texts.split('').map((text) => pool.broadcastMessage('default', text)));
  const before = broadcast('uvw');
  socket.send('A', { fin: false });
  const inside = broadcast('xyz');
  await endTurn();
  socket.send('B', { fin: true });
  const after = broadcast('123');
  expect(await client.exactly(7)).toEqual(['U', 'V', 'W', 'AB', '1', '2', '3']);
  expect(await before).toEqual([ONE_SENT, ONE_SENT, ONE_SENT]);
  expect(await inside).toEqual([ONE_FAILED, ONE_FAILED, ONE_FAILED]);
  expect(await after).toEqual([ONE_SENT, ONE_SENT, ONE_SENT]);
});
