/**
 * How a node gets rid of its clients: this library, with or without a cluster, or `ws` alone and every client at the same
 * moment.
 */
export type Way = 'drain' | 'drain-in-cluster' | 'all-at-once';

/** Clients that are behind the balancer. */
export const CLIENTS = 2_000;
/** What the node that takes the clients over is to see at most, in reconnects per second. */
export const LIMIT_PER_SECOND = 500;
/**
 * What the other one closes at most, per second. A tenth less: the delays of the clients are random, so that their
 * reconnects fall less evenly than the closes do.
 */
export const DRAIN_PER_SECOND = 450;
/** From one readiness probe of the balancer to the next, in ms. */
export const PROBE_INTERVAL_MS = 100;
/** The least delay of a client's first reconnect, in ms: longer than the balancer takes to notice. It doubles. */
export const BACKOFF_MS = 250;
/** Share of the delay that is added at random, at most. */
export const BACKOFF_JITTER = 2;

/** Moments are in ms of the clock that all processes share. */
export interface NodeReport {
  /** When the signal came. */
  readonly stopAtMs: number;
  /** When each close was begun. */
  readonly closesAtMs: readonly number[];
  /** When each client was accepted. */
  readonly acceptedAtMs: readonly number[];
  /** What the drain has said of itself. */
  readonly drained:
    { readonly closed: number; readonly terminated: number; readonly left: number } | undefined;
  readonly connections: number;
  /** The longest that its event loop was held up, in ms. */
  readonly stallMs: number;
}

/** Calls that a server process answers. */
export interface NodeCalls {
  /** @returns the port */
  listen(): Promise<number>;
  pid(): number;
  /** Of a node in a cluster: resolves when it knows that many nodes with connections, itself included. */
  company(nodes: number): Promise<void>;
  /** Resolves when the signal has been obeyed and the server is closed. */
  stopped(): Promise<void>;
  report(): NodeReport;
}

/** Calls that the balancer answers. */
export interface BalancerCalls {
  /** @returns the port */
  listen(): Promise<number>;
  /** Adds a node; resolves when its readiness probe has succeeded. */
  add(port: number): Promise<void>;
  /** For each node when it ceased to be ready, and when connections were sent to it. */
  report(): readonly { readonly unreadyAtMs: number | undefined; readonly sentAtMs: readonly number[] }[];
}

export interface ClientsReport {
  /** Close codes and how many clients got them. */
  readonly codes: Readonly<Record<string, number>>;
  /** Reconnects that failed, by what they said. */
  readonly failures: Readonly<Record<string, number>>;
  readonly closedAtMs: readonly number[];
  /** First attempts of each. */
  readonly attemptsAtMs: readonly number[];
  /** From the attempt to the open connection, in ms. */
  readonly handshakesMs: readonly number[];
  /** The longest that their event loop was held up since the signal, in ms. */
  readonly stallMs: number;
}

/** Calls that the clients process answers. */
export interface ClientsCalls {
  connect(port: number): Promise<void>;
  /** Call it just before the signal. Resolves when that many were closed and are back, or the time is up. */
  untilBack(clients: number, maxMs: number): Promise<ClientsReport>;
}
