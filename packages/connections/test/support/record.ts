import { once, type EventEmitter } from 'node:events';

/** A message as its listeners receive it. */
export type Received = [message: string | Uint8Array, isBinary: boolean];

/** The next message of a connection, with `isBinary`. */
export async function nextMessage(connection: EventEmitter): Promise<Received> {
  return (await once(connection, 'message')) as Received;
}

/** Everything that a connection emits, in order. */
export function record(connection: EventEmitter): unknown[][] {
  const events: unknown[][] = [];
  for (const event of ['message', 'close', 'error', 'drain', 'pong']) {
    connection.on(event, (...args: unknown[]) => void events.push([event, ...args]));
  }
  return events;
}
