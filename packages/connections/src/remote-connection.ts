/** A connection as other nodes know it: plain data, which JSON can carry. */
export interface RemoteConnection<ID = string> {
  readonly id: ID;
  readonly namespace: string;
  /** The node that holds the connection, where the caller of `toRemote()` said so. */
  readonly instanceId?: string;
}
