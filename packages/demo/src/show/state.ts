import type { ClusterState, ClusterStats, PoolStats } from '@soketi/connections';
import * as v from 'valibot';

/*
 * The messages between the processes of the demo, and the state that the page gets.
 */

export const MAX_BOTS = 2_000;
/** Each of them is sent 5 MB a second. */
export const MAX_SLOW_READERS = 5;

/** A command of the page's buttons. */
export const Command = v.variant('do', [
  v.strictObject({ do: v.literal('restart'), node: v.number(), allAtOnce: v.boolean() }),
  v.strictObject({ do: v.literal('restart all'), allAtOnce: v.boolean() }),
  v.strictObject({
    do: v.literal('bots'),
    count: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_BOTS)),
  }),
  v.strictObject({ do: v.literal('slow reader') }),
]);
export type Command = v.InferOutput<typeof Command>;

/** The result of a command; `problem` is a sentence for people. */
export type Outcome = { readonly ok: true } | { readonly ok: false; readonly problem: string };

/** Closes and connects of a node in one second, which is counted since the epoch. */
export type Second = readonly [second: number, closes: number, connects: number];

/** Round trips of the last heartbeats, in ms. */
export interface RoundTrips {
  readonly count: number;
  readonly median: number;
  readonly p99: number;
  readonly max: number;
}

/** The report of a node, several times a second. */
export interface Report {
  /** When, in ms since the epoch. */
  readonly at: number;
  readonly pool: PoolStats;
  readonly relay: ClusterStats;
  readonly relayState: ClusterState;
  readonly roundTrips: RoundTrips | undefined;
  /** Nodes of other primaries, on the same broker. */
  readonly others: readonly OtherNode[];
  /** Since the last report, so the reports are added up. */
  readonly seconds: readonly Second[];
}

export interface OtherNode {
  readonly name: string;
  readonly connections: number;
  readonly draining: boolean;
}

export type NodeState = 'starting' | 'ready' | 'draining' | 'gone';

export interface NodeView {
  /** Counted from 1. */
  readonly node: number;
  readonly name: string;
  readonly state: NodeState;
  readonly pid: number | undefined;
  readonly report: Omit<Report, 'seconds' | 'others'> | undefined;
}

/** An event, as a sentence. */
export interface Happening {
  readonly id: number;
  /** In ms since the epoch. */
  readonly at: number;
  readonly text: string;
}

export interface BotsView {
  readonly wanted: number;
  readonly open: number;
  /** Attempts to connect that have failed since the start. */
  readonly failed: number;
  readonly slowReaders: number;
}

/** Everything that the page shows. */
export interface ShowState {
  /** The time of the server, in ms since the epoch. */
  readonly now: number;
  readonly drainPerSecond: number;
  readonly nodes: readonly NodeView[];
  readonly others: readonly OtherNode[];
  readonly bots: BotsView;
  readonly isRestarting: boolean;
  /** One row per second: the second, then closes and connects of each node. */
  readonly series: readonly (readonly [
    second: number,
    closes: readonly number[],
    connects: readonly number[],
  ])[];
  readonly happenings: readonly Happening[];
}

/** A message of a worker to the primary. */
export type FromNode =
  | { readonly show: 'listening'; readonly url: string }
  | { readonly show: 'report'; readonly report: Report }
  | { readonly show: 'happened'; readonly text: string }
  | { readonly show: 'command'; readonly id: number; readonly command: Command };

/** A message of the primary to a worker. */
export type ToNode =
  | { readonly show: 'state'; readonly state: ShowState }
  | { readonly show: 'outcome'; readonly id: number; readonly outcome: Outcome }
  | { readonly show: 'close all at once' };

/** A message of the parent to the process of the bots. */
export type ToBots =
  | { readonly bots: 'count'; readonly count: number }
  | { readonly bots: 'at once'; readonly isOn: boolean }
  | { readonly bots: 'slow reader' };

export type FromBots = Omit<BotsView, 'wanted'>;
