import type { Connection } from '../../src/index.js';

/** The close events of a connection, in order. */
export function closesOf(connection: Connection): [number, string][] {
  const closes: [number, string][] = [];
  connection.on('close', (...args) => closes.push(args));
  return closes;
}
