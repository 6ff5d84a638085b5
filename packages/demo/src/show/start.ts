import { readSettings } from '../server/settings.js';
import { nodeNames } from './node-names.js';
import { Primary } from './primary.js';
import { Show } from './show.js';
import { startSingle } from './single.js';

try {
  const settings = readSettings(process.env);
  if (settings.nodes === 1) console.log(`Listening on ${await startSingle(settings)}`);
  else {
    const show: Show = new Show(nodeNames(settings), settings.drainPerSecond, () => primary.url);
    const primary = new Primary(show);
    if (await primary.start(settings.nodes)) console.log(`Listening on ${primary.url}`);
    // The node has already printed the reason.
    else if (!primary.isStopping) process.exit(1);
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
