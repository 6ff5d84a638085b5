import { connectBroker } from '../server/broker.js';
import { startServer } from '../server/server.js';
import type { Settings } from '../server/settings.js';
import { createRoutes } from './control.js';
import { nodeNames } from './node-names.js';
import { Reporter } from './reporter.js';
import { Show } from './show.js';
import { makeTraffic } from './traffic.js';

/** The whole demo except the bots, in this process. @returns where it listens */
export async function startSingle(settings: Settings): Promise<string> {
  const names = nodeNames(settings);
  const show = new Show(names, settings.drainPerSecond, () => running.url);
  const broker = await connectBroker(settings);
  const source = {
    state: () => show.state,
    obey: (command: Parameters<Show['obey']>[0]) => Promise.resolve(show.obey(command)),
  };
  const running = await startServer({
    ...settings,
    nodeName: names[0] ?? 'node 1',
    adapter: broker?.adapter,
    signals: ['SIGTERM', 'SIGINT'],
    routes: createRoutes(source, settings.host),
  });
  const { chat, closed, url } = running;
  void closed.then(() => broker?.close());
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.once(signal, () => {
      show.bots.stop();
      show.nodeIs(1, 'draining', process.pid);
    });
  makeTraffic(chat, settings.host);
  new Reporter(
    chat,
    (report) => show.reported(1, report),
    (text) => show.happened(text),
  );
  show.nodeIs(1, 'ready', process.pid);
  return url;
}
