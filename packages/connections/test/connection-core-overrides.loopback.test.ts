import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { Loopback } from './support/loopback.js';
import { joinLobby, Lobby, Player, type PlayerClass } from './support/player.js';
import { watchUnhandled } from './support/unhandled.js';

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

  test.each(ways)('an overridden close is called once by %s', async (_title, close, code, reason) => {
    const lobby = new Lobby();
    const { player, client } = await joinLobby(lobby, 1);
    const outcome = close(lobby, player);
    expect(await client.closed).toEqual({ code, reason: `player: ${reason}` });
    await outcome;
    expect(player.closings).toEqual([[code, reason]]);
  });

  test('an overridden close is called for the idle limit', async () => {
    const lobby = new Lobby({ idleTimeout: 50 });
    const { player, client } = await joinLobby(lobby, 1);
    expect(await client.closed).toEqual({ code: 4408, reason: 'player: Idle timeout' });
    expect(player.closings).toHaveLength(1);
  });

  test('an overridden close is called for a connection that is replaced', async () => {
    const lobby = new Lobby({ onDuplicate: 'replace' });
    const old = await joinLobby(lobby, 1);
    const next = await joinLobby(lobby, 1);
    expect(await old.client.closed).toMatchObject({ code: 4409 });
    expect(old.player.closings).toHaveLength(1);
    expect(lobby.getConnection('game', 1)).toBe(next.player);
  });

  test('an overridden close is called for a newcomer while the pool drains', async () => {
    const lobby = new Lobby();
    await lobby.drainConnections(10);
    const loopback = await Loopback.start();
    const { client, socket } = await loopback.pair();
    const late = new Player(1, 'game', socket);
    const refused = once(lobby, 'refused');
    await lobby.newConnection(late);
    expect(await refused).toEqual([late, expect.objectContaining({ code: 'ERR_POOL_DRAINING' })]);
    expect(await client.closed).toMatchObject({ code: 1013 });
    expect(late.closings).toHaveLength(1);
  });
});

/** Overrides of close with a fault. */
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
    'closeAll closes the others although an overridden close %s',
    async (_title, PlayerOf, expected) => {
      const { reasons, settle } = watchUnhandled();
      const lobby = new Lobby();
      const errors: string[] = [];
      lobby.on('error', ({ message }) => errors.push(message));
      const first = await joinLobby(lobby, 1);
      const bad = await joinLobby(lobby, 2, PlayerOf);
      const last = await joinLobby(lobby, 3);

      const closed = lobby.closeAll('game', 4000);
      expect(await first.client.closed).toMatchObject({ code: 4000 });
      expect(await last.client.closed).toMatchObject({ code: 4000 });
      if (PlayerOf !== NeverSettling) await closed;
      await expect.poll(() => lobby.stats().connections, { timeout: 4_000 }).toBe(1);
      await settle();
      expect(errors).toEqual(expected);
      expect(reasons).toEqual([]);
      // The connection is still a member, and can still be sent to and terminated.
      await expect(lobby.broadcastMessage('game', 'x')).resolves.toMatchObject({ sent: 1 });
      expect(await bad.client.next()).toBe('<x>');
      bad.player.terminate();
      expect(await bad.client.closed).toMatchObject({ code: 1006 });
    },
  );

  test.each(wrong)(
    'a newcomer replaces a connection whose overridden close %s',
    async (_title, PlayerOf, expected) => {
      const { reasons, settle } = watchUnhandled();
      const lobby = new Lobby({ onDuplicate: 'replace' });
      const errors: string[] = [];
      const { player } = await joinLobby(lobby, 1, PlayerOf);
      player.on('error', ({ message }) => errors.push(message));
      const next = await joinLobby(lobby, 1);
      expect(lobby.getConnection('game', 1)).toBe(next.player);
      expect(lobby.stats().connections).toBe(1);
      await settle();
      expect(errors).toEqual(expected);
      expect(reasons).toEqual([]);
    },
  );

  test('a drain terminates connections whose overridden close is wrong when the grace period is over', async () => {
    const { reasons, settle } = watchUnhandled();
    const lobby = new Lobby({ closeTimeout: 50 });
    let id = 0;
    const bad = [];
    for (const [, PlayerOf] of wrong) bad.push(await joinLobby(lobby, ++id, PlayerOf));
    const good = await joinLobby(lobby, ++id);

    const report = await lobby.drainConnections(10, 'Restart', 4000);
    expect(await good.client.closed).toEqual({ code: 4000, reason: 'player: Restart' });
    for (const { client } of bad) expect(await client.closed).toMatchObject({ code: 1006 });
    expect(report).toMatchObject({ closed: 1, terminated: wrong.length, left: 0 });
    expect(lobby.stats().connections).toBe(0);
    await settle();
    expect(reasons).toEqual([]);
  });

  test('the idle limit closes the others although an overridden close is wrong', async () => {
    const lobby = new Lobby({ idleTimeout: 50 });
    for (const [index, [, PlayerOf]] of wrong.entries()) await joinLobby(lobby, index + 1, PlayerOf);
    const good = await joinLobby(lobby, 99);
    expect(await good.client.closed).toMatchObject({ code: 4408 });
  });
});

/** Overrides of terminate with a fault. */
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
    // It ends nothing.
  }
}

describe('an overridden terminate that is wrong', () => {
  /** Peers that answer nothing; the second one always follows the first. */
  async function joinMute(lobby: Lobby, PlayerOf: PlayerClass) {
    const bad = await joinLobby(lobby, 1, PlayerOf);
    const other = await joinLobby(lobby, 2);
    const errors: string[] = [];
    bad.player.on('error', ({ message }) => errors.push(message));
    const closed = [bad, other].map(({ client, player }) => {
      client.socket.pause();
      // Not `once`, which rejects for an error event.
      return new Promise((resolve) => player.on('close', (...args) => resolve(args)));
    });
    return { players: [bad.player, other.player], errors, closed: Promise.all(closed) };
  }

  // The error used to be thrown out of the timer that all connections of the process share, which then never called the
  // later ones.
  test.each<[string, PlayerClass, string[]]>([
    ['throws', Undying, ['terminate failed']],
    ['rejects', Late, ['terminate failed']],
    ['ends nothing', Reluctant, []],
  ])(
    'a connection whose overridden terminate %s is ended all the same, and so are the others',
    async (_title, PlayerOf, expected) => {
      const { players, errors, closed } = await joinMute(new Lobby({ closeTimeout: 50 }), PlayerOf);
      for (const player of players) void player.close(4000);
      const ended = [1006, ''];
      expect(await closed).toEqual([ended, ended]);
      expect(errors).toEqual(expected);
    },
  );

  test.each<[string, PlayerClass]>([
    ['throws', Undying],
    ['rejects', Late],
    ['ends nothing', Reluctant],
  ])('a drain does not fail if an overridden terminate %s', async (_title, PlayerOf) => {
    const lobby = new Lobby();
    const { closed } = await joinMute(lobby, PlayerOf);
    expect(await lobby.drainConnections({ deadline: 100 })).toMatchObject({ terminated: 2 });
    await closed;
  });
});
