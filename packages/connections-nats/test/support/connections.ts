import { connect as connect3 } from '@nats-io/transport-node';
import { connect as connect2 } from 'nats';
import type { NatsClient } from '../../src/index.js';

export interface NatsOptions {
  readonly port: number;
  readonly noEcho?: boolean;
  readonly maxReconnectAttempts?: number;
  readonly user?: string;
  readonly pass?: string;
}

export interface TestConnection extends NatsClient {
  close(): Promise<void>;
}

export interface Library {
  readonly name: string;
  readonly connect: (options: NatsOptions) => Promise<TestConnection>;
}

function optionsOf({ port, ...others }: NatsOptions) {
  return { servers: `127.0.0.1:${port}`, maxReconnectAttempts: -1, reconnectTimeWait: 50, ...others };
}

export const LIBRARIES: readonly Library[] = [
  { name: '@nats-io/transport-node 3', connect: (options) => connect3(optionsOf(options)) },
  { name: 'nats 2', connect: (options) => connect2(optionsOf(options)) },
];

/** Counts the subscriptions and listeners of a connection, for which it has no public method. */
export function listenersOf(connection: NatsClient): number {
  const internals = connection as unknown as {
    readonly listeners?: readonly unknown[];
    readonly protocol: { readonly listeners: readonly unknown[]; readonly subscriptions: { size(): number } };
  };
  const { listeners, protocol } = internals;
  return protocol.subscriptions.size() + (listeners ?? protocol.listeners).length;
}
