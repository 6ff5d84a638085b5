/**
 * A WebSocket-like object: what a `Connection` wraps.
 *
 * Without handlers `send` and `close` MUST be there. Events come through `on` (Node emitters such as `ws`) or
 * `addEventListener` (the global `WebSocket`, Deno, Workers); the owner of a socket that has neither
 * (uWebSockets.js, Bun) MUST feed the connection through its `handleMessage`, `handleClose`, `handleDrain` and
 * `handlePong`. The rest is used where it exists.
 */
export interface NativeWebsocket {
  send?(message: never, ...rest: never[]): unknown;
  close?(code?: number, reason?: string): unknown;
}

/**
 * Replaces the socket's own `send` and `close`.
 *
 * `send` gets the message exactly as the caller passed it (`sendJson` passes the JSON text). A binary one that had to
 * wait, as every broadcast does, is a copy of the built-in type; above 64 KiB it is the original. A promise that it
 * returns is waited for before the close; if it rejects, the message was not sent. `close` SHOULD settle
 * when the socket is closed: if the socket emits its own close event, that counts instead.
 */
export interface NativeConnectionHandlers<Message = unknown> {
  send<M extends Message = Message>(message: M): unknown;
  close(code?: number, reason?: string): unknown;
}

/** What a socket can do, probed once: a policy that needs something absent here has no effect. */
export interface Capabilities {
  /** How events arrive; `'owner'`: only through the `handle…` methods of the connection. */
  readonly events: 'emitter' | 'event-target' | 'owner';
  /** The socket can be ended at once. Without it, an unanswered close only frees our side. */
  readonly terminate: boolean;
  /** The socket can send a ping (RFC 6455 §5.5.2). */
  readonly ping: boolean;
  /** The socket tells how much waits in it. Without it, slow readers cannot be seen. */
  readonly bufferedAmount: boolean;
  /** The socket tells its state. Without it, a close that its owner has not reported yet cannot be seen. */
  readonly readyState: boolean;
  /** The socket can gather several sends into one write. */
  readonly cork: boolean;
  /** Reading from the socket can be stopped. Without it, a rate limit drops instead of pausing. */
  readonly pause: boolean;
}
