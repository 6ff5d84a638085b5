import type { Memory } from '../harness/index.js';

/** Delays of an event loop, measured once per millisecond, so that one millisecond is part of each figure. */
export interface Delays {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** The server's measurements of a period. */
export interface Stretch extends Delays {
  /** Share of one core, 0-1. */
  readonly cpu: number;
  readonly tookMs: number;
  readonly pings: number;
}

export interface DrainPace {
  readonly maxPerSecond: number;
  /** Between two slices, in ms. */
  readonly interval: number;
}

/** Calls that the server process answers. */
export interface ScaleServerCalls {
  /** @returns the port */
  listen(settings: { heartbeat: boolean }): Promise<number>;
  connected(): number;
  /** After forced collections. */
  memory(): Promise<Memory>;
  /** Share of one core, 0-1, that an idle server takes, while nothing measures delays. */
  idleCpu(ms: number): Promise<Stretch>;
  /** The same while a plain loop over the sockets calls `ping()` of `ws` once each, and nobody checks the answers. */
  bareCpu(ms: number): Promise<Stretch>;
  idle(ms: number): Promise<Stretch>;
  /** Broadcasts to all, repeatedly. */
  broadcast(settings: { times: number; gapMs: number; bytes: number }): Promise<Stretch>;
  drain(pace: DrainPace): Promise<Stretch & { closed: number; terminated: number; left: number }>;
  lost(): number;
}

/** Calls that the clients process answers. */
export interface ScaleClientsCalls {
  connect(settings: { port: number; connections: number }): Promise<void>;
  /** Messages that all clients together have received. */
  received(): number;
  /** Close codes and how many clients got them. */
  closed(): Readonly<Record<string, number>>;
}
