import { channel, type Channel } from 'node:diagnostics_channel';

/** What a pool tells tracers, on the channels `soketi:connections:<name>`. Every payload also has the `pool`. */
export interface DiagnosticsPayloads {
  /** A connection has joined. */
  connection: { readonly connection: unknown };
  /** A connection has left; without a code it was removed and may be open still. */
  disconnection: { readonly connection: unknown; readonly code: number | undefined; readonly reason: string };
  /** A connection was not added, and is closed. */
  refused: { readonly connection: unknown; readonly error: Error };
  /** A connection has joined a room. */
  join: { readonly connection: unknown; readonly room: string };
  /** A connection has left a room. */
  leave: { readonly connection: unknown; readonly room: string };
  /** The last connection of a room has left. */
  emptyRoom: { readonly namespace: string; readonly room: string };
  /** The last connection of a namespace has left. */
  emptyNamespace: { readonly namespace: string };
  /** A message was broadcast; `byteLength` is that of one frame before compression. */
  broadcast: { readonly namespace: string; readonly byteLength: number; readonly recipients: number };
  /** A connection has become a slow reader. */
  slow: { readonly connection: unknown; readonly bufferedAmount: number };
  /** A drain is done. */
  drain: { readonly report: unknown };
  /** Another node of the cluster has come or gone. */
  node: { readonly node: unknown; readonly change: 'joined' | 'left' | 'lost' };
  /** The cluster is not `up` any more. */
  degraded: { readonly degradation: unknown };
  /** The cluster is `up` again. */
  recovered: { readonly recovery: unknown };
  /** A socket, handler or listener failed. */
  error: { readonly error: Error; readonly connection: unknown };
}

type Name = keyof DiagnosticsPayloads;

interface Topic {
  readonly channel: Channel;
  readonly fields: readonly string[];
}

const topic = (name: Name, ...fields: readonly string[]): Topic => ({
  channel: channel(`soketi:connections:${name}`),
  fields,
});

// Kept in a field: checking for subscribers costs one read.
const topics: Readonly<Record<Name, Topic>> = {
  connection: topic('connection', 'connection'),
  disconnection: topic('disconnection', 'connection', 'code', 'reason'),
  refused: topic('refused', 'connection', 'error'),
  join: topic('join', 'connection', 'room'),
  leave: topic('leave', 'connection', 'room'),
  emptyRoom: topic('emptyRoom', 'namespace', 'room'),
  emptyNamespace: topic('emptyNamespace', 'namespace'),
  broadcast: topic('broadcast', 'namespace', 'byteLength', 'recipients'),
  slow: topic('slow', 'connection', 'bufferedAmount'),
  drain: topic('drain', 'report'),
  node: topic('node', 'node', 'change'),
  degraded: topic('degraded', 'degradation'),
  recovered: topic('recovered', 'recovery'),
  error: topic('error', 'error', 'connection'),
};

/** Publishes the values under the names of the payload's fields. Costs nothing without subscribers. */
export function trace(name: Name, pool: unknown, ...values: readonly unknown[]): void {
  const { channel, fields } = topics[name];
  if (!channel.hasSubscribers) return;
  channel.publish({ pool, ...Object.fromEntries(fields.map((field, index) => [field, values[index]])) });
}
