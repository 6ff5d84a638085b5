import { channel, type Channel } from 'node:diagnostics_channel';

/** What a pool tells tracers: the channels `soketi:connections:<name>`. Every payload also has the `pool`. */
export interface DiagnosticsPayloads {
  /** A connection has joined. */
  connection: { readonly connection: unknown };
  /** A connection has left; without a code it was removed and may be open still. */
  disconnection: { readonly connection: unknown; readonly code: number | undefined; readonly reason: string };
  /** The last connection of a namespace has left. */
  emptyNamespace: { readonly namespace: string };
  /** A message was broadcast; `byteLength` is that of one frame before compression. */
  broadcast: { readonly namespace: string; readonly byteLength: number; readonly recipients: number };
  /** A connection has become a slow reader. */
  slow: { readonly connection: unknown; readonly bufferedAmount: number };
  /** A drain is done. */
  drain: { readonly report: unknown };
  /** A socket, handler or listener failed. */
  error: { readonly error: Error; readonly connection: unknown };
}

type Name = keyof DiagnosticsPayloads;

const open = (name: Name): Channel => channel(`soketi:connections:${name}`);

// Kept, so that asking whether anybody listens is the read of a field.
const channels: Readonly<Record<Name, Channel>> = {
  connection: open('connection'),
  disconnection: open('disconnection'),
  emptyNamespace: open('emptyNamespace'),
  broadcast: open('broadcast'),
  slow: open('slow'),
  drain: open('drain'),
  error: open('error'),
};

/** Publishes where somebody has subscribed; nothing is allocated otherwise. */
export function isTraced(name: Name): boolean {
  return channels[name].hasSubscribers;
}

export function trace<N extends Name>(name: N, pool: unknown, payload: DiagnosticsPayloads[N]): void {
  channels[name].publish({ pool, ...payload });
}
