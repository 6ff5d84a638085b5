import type { WebSocket } from 'ws';
import { Connection, ConnectionsPool, type RemoteConnection } from '../../src/index.js';
import { Loopback, type Client } from './loopback.js';

export interface RemotePlayer extends RemoteConnection<number> {
  readonly score: number;
}

/**
 * A subclass as an application would write it: numeric ids, text only, a field, and a mark on everything that is sent.
 */
export class Player extends Connection<number, string, WebSocket> {
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

/** Waits before it sends, like an override that looks something up first. */
export class ThoughtfulPlayer extends Player {
  override async send(message: string): Promise<boolean> {
    await Promise.resolve();
    return super.send(message);
  }
}

export class Lobby extends ConnectionsPool<string, Player> {
  readonly joined: number[] = [];

  override async newConnection(player: Player): Promise<void> {
    if (player.score < 0) throw new Error('Banned');
    await super.newConnection(player);
    this.joined.push(player.id);
  }
}

export type PlayerClass = new (id: number, namespace: string, socket: WebSocket) => Player;

export async function joinLobby(
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
