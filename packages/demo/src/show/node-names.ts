import { hostname } from 'node:os';
import type { Settings } from '../server/settings.js';

/** With a broker there may be nodes in other terminals and on other machines, so names say where a node is. */
export function nodeNames({ nodes, port, redisUrl, natsUrl }: Settings): readonly string[] {
  const where = redisUrl === undefined && natsUrl === undefined ? '' : ` of ${hostname()}:${port}`;
  return Array.from({ length: nodes }, (_, index) => `node ${index + 1}${where}`);
}
