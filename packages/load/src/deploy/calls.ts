/**
 * How a node closes its clients: this library, with or without a cluster, or `ws` alone with all clients at the same
 * moment.
 */
export type Way = 'drain' | 'drain-in-cluster' | 'all-at-once';

/** Clients that are behind the balancer. */
export const CLIENTS = 2_000;
/** How many reconnects per second the node that takes over the clients may see. */
export const LIMIT_PER_SECOND = 500;
/**
 * How many clients the other node closes per second. A tenth less: the delays of the clients are random, so their
 * reconnects are less even than the closes.
 */
export const DRAIN_PER_SECOND = 450;
/** Between two readiness probes of the balancer, in ms. */
export const PROBE_INTERVAL_MS = 100;
/**
 * The least delay of a client's first reconnect, in ms: longer than the balancer takes to notice. The delay doubles.
 */
export const BACKOFF_MS = 250;
/** The maximum share of the delay that is added at random. */
export const BACKOFF_JITTER = 2;

/** Times are in ms of the clock that all processes share. */
export interface NodeReport {
  /** When the signal came. */
  readonly stopAtMs: number;
  /** When each close began. */
  readonly closesAtMs: readonly number[];
  /** When each client was accepted. */
  readonly acceptedAtMs: readonly number[];
  /** The report of the drain. */
  readonly drained:
    { readonly closed: number; readonly terminated: number; readonly left: number } | undefined;
  readonly connections: number;
  /** The longest delay of its event loop, in ms. */
  readonly stallMs: number;
}

/** Calls that a server process answers. */
export interface NodeCalls {
  /** @returns the port */
  listen(): Promise<number>;
  pid(): number;
  /** For a node in a cluster: resolves when it knows that many nodes with connections, including itself. */
  company(nodes: number): Promise<void>;
  /** Resolves when the shutdown that the signal began is done and the server is closed. */
  stopped(): Promise<void>;
  report(): NodeReport;
}

/** Calls that the balancer answers. */
export interface BalancerCalls {
  /** @returns the port */
  listen(): Promise<number>;
  /** Adds a node; resolves when its readiness probe has succeeded. */
  add(port: number): Promise<void>;
  /** For each node, when it stopped being ready, and when connections were sent to it. */
  report(): readonly { readonly unreadyAtMs: number | undefined; readonly sentAtMs: readonly number[] }[];
}

export interface ClientsReport {
  /** Close codes and how many clients got them. */
  readonly codes: Readonly<Record<string, number>>;
  /** Failed reconnects, by error message. */
  readonly failures: Readonly<Record<string, number>>;
  readonly closedAtMs: readonly number[];
  /** The first attempts of each client. */
  readonly attemptsAtMs: readonly number[];
  /** From the attempt to the open connection, in ms. */
  readonly handshakesMs: readonly number[];
  /** The longest delay of their event loop since the signal, in ms. */
  readonly stallMs: number;
}

/** Calls that the clients process answers. */
export interface ClientsCalls {
  connect(port: number): Promise<void>;
  /** Call it just before the signal. Resolves when that many clients were closed and are back, or the time is up. */
  untilBack(clients: number, maxMs: number): Promise<ClientsReport>;
}
