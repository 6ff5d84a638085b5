import { describe, expect, test } from 'vitest';
import { Connection } from '../src/index.js';
import { joinLobby, Lobby, type Player } from './support/player.js';

describe('a subclass of Connection', () => {
  test('a pool holds and hands out the subclass of Connection, with its fields', async () => {
    const lobby = new Lobby();
    const { player } = await joinLobby(lobby, 7);
    player.score = 12;
    expect(lobby.getConnection('game', 7)).toBe(player);
    expect(lobby.getConnection('game', 7)?.score).toBe(12);
    expect(player.toRemote('node-1')).toEqual({ id: 7, namespace: 'game', instanceId: 'node-1', score: 12 });
    // Compared strictly: data for other nodes has no key that is undefined.
    expect(player.toRemote()).toStrictEqual({ id: 7, namespace: 'game', score: 12 });
    expect(player).toBeInstanceOf(Connection);
  });

  test('listeners of a pool get the subclass of Connection', async () => {
    const lobby = new Lobby();
    const seen: Player[] = [];
    lobby.on('connection', (player) => seen.push(player));
    lobby.on('disconnection', (player) => seen.push(player));
    const { player } = await joinLobby(lobby, 7);
    await player.close();
    expect(seen).toEqual([player, player]);
  });
});
