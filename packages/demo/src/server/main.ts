import { connectBroker } from './broker.js';
import { startServer } from './server.js';
import { readSettings } from './settings.js';

try {
  const settings = readSettings(process.env);
  const broker = await connectBroker(settings);
  const { url, chat, closed } = await startServer({
    ...settings,
    adapter: broker?.adapter,
    // The process ends by itself, with status 0, when the shutdown has closed everything.
    signals: ['SIGTERM', 'SIGINT'],
  });
  void closed.then(() => broker?.close());
  chat.on('drain', ({ closed, terminated, left }) => {
    console.log(`Drained: ${closed} closed, ${terminated} terminated, ${left} left by themselves`);
  });
  console.log(`Listening on ${url}`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
