/** A connection of `@nats-io/transport-node` 3 or `nats` 2, as `connect()` makes it. */
export interface NatsClient {
  readonly info?: { readonly max_payload: number };
  publish(subject: string, payload: Uint8Array): void;
  subscribe(subject: string, options: { callback: SubscriptionCallback }): NatsSubscription;
  flush(): Promise<void>;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- each version has other types of events
  status(): AsyncIterable<any>;
  closed(): Promise<unknown>;
  isClosed(): boolean;
}

export interface NatsSubscription {
  unsubscribe(): void;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- each version has other types of errors and messages
type SubscriptionCallback = (error: any, message: any) => void;

/** What `status()` yields, in one version or the other. */
export interface NatsStatus {
  readonly type: string;
  /** Of `error`, in version 3. */
  readonly error?: Error;
  /** Of `error`, in version 2: its code. */
  readonly data?: unknown;
}

/** What connections of both versions have, although it is not in their types. */
interface Internals {
  readonly options?: {
    readonly noEcho?: boolean;
    readonly reconnect?: boolean;
    readonly maxReconnectAttempts?: number;
  };
}

/** The server does not send messages back to who has published them. */
export function isWithoutEcho(connection: NatsClient): boolean {
  return (connection as Internals).options?.noEcho === true;
}

/** The connection will not outlive a longer outage. By default it ends after ten attempts, some twenty seconds. */
export function givesUp(connection: NatsClient): boolean {
  const { reconnect, maxReconnectAttempts = -1 } = (connection as Internals).options ?? {};
  return reconnect === false || maxReconnectAttempts !== -1;
}

/** Listens to the events of the connection. Returns how to stop. */
export function watch(connection: NatsClient, onStatus: (status: NatsStatus) => void): () => void {
  const statuses = connection.status() as AsyncIterable<NatsStatus> & { stop?: () => void };
  const read = async (): Promise<void> => {
    for await (const status of statuses) onStatus(status);
  };
  // It ends with the connection, which tells that itself.
  read().catch(() => undefined);
  // Without its `stop`, the iterator would stay registered until the next event.
  return () => statuses.stop?.();
}
