import { once } from 'node:events';
import { describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import type { PoolStats } from '../../src/index.js';
import { Client } from '../support/loopback.js';
import { onTestFinished } from '../support/on-test-finished.js';
import { Program } from '../support/program.js';
import { hasSignals } from '../support/requires.js';

describe.concurrent('a heartbeat in a process of its own', () => {
  interface State {
    readonly stats: PoolStats;
    readonly codes: readonly number[];
  }

  async function start(clients: number, intervalMs: number, timeoutMs: number) {
    const program = new Program('heartbeat-server', String(intervalMs), String(timeoutMs));
    const port = (await program.message()) as number;
    const connected = Array.from({ length: clients }, async () => {
      const client = new Client(new WebSocket(`ws://127.0.0.1:${port}`));
      onTestFinished(() => client.socket.terminate());
      await once(client.socket, 'open');
      return client;
    });
    return { program, clients: await Promise.all(connected) };
  }

  const stateOf = async (program: Program): Promise<State> => (await program.ask({})) as State;

  /** Waits until everyone has been pinged twice more: by then, a client that was wrongly taken for dead is gone. */
  async function expectAllAlive(program: Program, clients: readonly Client[]): Promise<void> {
    const { stats } = await stateOf(program);
    const enough = stats.pings + 2 * clients.length;
    await vi.waitFor(
      async () => {
        const { stats, codes } = await stateOf(program);
        expect(codes).toEqual([]);
        expect(stats.pings).toBeGreaterThanOrEqual(enough);
      },
      { timeout: 15_000, interval: 50 },
    );
    const { stats: after } = await stateOf(program);
    expect(after).toMatchObject({ connections: clients.length, heartbeatsLost: 0 });
  }

  test.each([600, 1_500])(
    'a stall of the event loop for %i ms terminates nobody who answered',
    { timeout: 20_000 },
    async (stallMs) => {
      const { program, clients } = await start(20, 300, 200);
      for (let stall = 0; stall < 2; stall++) {
        expect(await program.ask({ stallMs })).toBe('stalled');
      }
      await expectAllAlive(program, clients);
    },
  );

  // As after the lid of a laptop was closed: the answers come when everything is awake again.
  test.skipIf(!hasSignals)(
    'a process that was suspended for longer than the timeout terminates nobody when it wakes',
    { timeout: 30_000 },
    async () => {
      const { program, clients } = await start(10, 1_000, 1_000);
      for (const { socket } of clients) socket.pause();
      expect(await program.ask({ tellPing: true })).toBe('pinged');
      program.process.kill('SIGSTOP');
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      program.process.kill('SIGCONT');
      for (const { socket } of clients) socket.resume();
      await expectAllAlive(program, clients);
    },
  );

  test('a dead peer is still found after a stall', { timeout: 20_000 }, async () => {
    const { program, clients } = await start(2, 400, 200);
    await program.ask({ stallMs: 1_500 });
    clients[0]!.socket.pause();
    await vi.waitFor(async () => expect((await stateOf(program)).codes).toEqual([1006]), { timeout: 10_000 });
    expect((await stateOf(program)).stats).toMatchObject({ connections: 1, heartbeatsLost: 1 });
  });
});
