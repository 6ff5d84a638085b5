import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { Loopback } from './support/loopback.js';
import { joinLobby, Lobby, Player } from './support/player.js';

describe('a subclass of ConnectionsPool', () => {
  test('an overridden newConnection decides who joins', async () => {
    const lobby = new Lobby();
    await joinLobby(lobby, 1);
    const loopback = await Loopback.start();
    const [first, second] = [await loopback.pair(), await loopback.pair()];
    const banned = new Player(2, 'game', first.socket);
    banned.score = -1;
    await expect(lobby.newConnection(banned)).rejects.toThrow('Banned');
    const twin = new Player(1, 'game', second.socket);
    const refused = once(lobby, 'refused');
    await lobby.newConnection(twin);
    expect(await refused).toEqual([twin, expect.objectContaining({ code: 'ERR_DUPLICATE_CONNECTION' })]);
    expect(twin.closed).toBe(true);
    expect(lobby.stats().refused).toBe(1);
    // The override is not informed: a refusal does not reject.
    expect(lobby.joined).toEqual([1, 1]);
    expect([...lobby.namespace('game').keys()]).toEqual([1]);
    expect(banned.closed).toBe(false);
  });

  test('a subclass of ConnectionsPool removes a connection that closes', async () => {
    const lobby = new Lobby();
    const { client } = await joinLobby(lobby, 1);
    const left = once(lobby, 'disconnection');
    client.socket.close(4000);
    await left;
    expect(lobby.hasNamespace('game')).toBe(false);
  });

  test('a connection that closes while an overridden newConnection waits does not join', async () => {
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
