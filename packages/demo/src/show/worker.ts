/*
 * A node: the chat server, and its reports to the primary.
 */
import { ipcAdapter } from '@soketi/connections/ipc';
import { connectBroker } from '../server/broker.js';
import { startServer } from '../server/server.js';
import { readSettings } from '../server/settings.js';
import { createRoutes } from './control.js';
import { nodeNames } from './node-names.js';
import { Reporter } from './reporter.js';
import type { Command, FromNode, Outcome, ShowState, ToNode } from './state.js';
import { makeTraffic } from './traffic.js';

/** A rate far above the number of connections that this demo can have. */
const ALL_AT_ONCE = { maxPerSecond: 1_000_000, interval: 1_000, reason: 'All at once' };

let state: ShowState | undefined;
let commands = 0;
const answers = new Map<number, (outcome: Outcome) => void>();

const say = (message: FromNode): void => void process.send?.(message, undefined, undefined, () => undefined);
const obey = (command: Command): Promise<Outcome> =>
  new Promise((resolve) => {
    const id = ++commands;
    answers.set(id, resolve);
    say({ show: 'command', id, command });
  });

try {
  const settings = readSettings(process.env);
  const broker = await connectBroker(settings);
  const { url, server, chat, closed, shutdown } = await startServer({
    ...settings,
    nodeName: nodeNames(settings)[Number(process.env['SHOW_NODE']) - 1] ?? 'node',
    adapter: broker?.adapter ?? ((prefix) => ipcAdapter({ prefix })),
    signals: ['SIGTERM', 'SIGINT'],
    routes: createRoutes({ state: () => state, obey }, settings.host),
  });
  void closed.then(() => broker?.close());
  // From now on the primary gives new connections to the other nodes, so that no client comes back to this one.
  const stopListening = (): void => void server.close();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, stopListening);
  // The relay of the pools uses the same channel: its messages have no `show`.
  process.on('message', (message: ToNode | { readonly show?: undefined }) => {
    if (message.show === 'state') state = message.state;
    else if (message.show === 'outcome') {
      answers.get(message.id)?.(message.outcome);
      answers.delete(message.id);
    } else if (message.show === 'close all at once') {
      stopListening();
      void chat.drainConnections(ALL_AT_ONCE);
      void shutdown().then(() => process.disconnect());
    }
  });
  makeTraffic(chat, settings.host);
  new Reporter(
    chat,
    (report) => say({ show: 'report', report }),
    (text) => say({ show: 'happened', text }),
  );
  say({ show: 'listening', url });
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
