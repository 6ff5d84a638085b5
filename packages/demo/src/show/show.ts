import { Bots } from './bots.js';
import { Series } from './series.js';
import {
  MAX_SLOW_READERS,
  type Command,
  type Happening,
  type NodeState,
  type NodeView,
  type Outcome,
  type Report,
  type ShowState,
} from './state.js';

const MAX_HAPPENINGS = 50;

/** What can be restarted. */
export interface Fleet {
  /** Ends a node and starts it again. Resolves when it takes clients again. */
  restart(node: number, allAtOnce: boolean): Promise<void>;
}

interface Node {
  readonly name: string;
  state: NodeState;
  pid: number | undefined;
  report: Report | undefined;
}

/** Everything that the page shows, and the actions of its buttons. There is one, in the primary. */
export class Show {
  readonly bots: Bots;
  /** @default none: there is one process */
  fleet: Fleet | undefined;
  readonly #nodes: readonly Node[];
  readonly #drainPerSecond: number;
  readonly #series: Series;
  readonly #happenings: Happening[] = [];
  #happened = 0;
  #restarting: string | undefined;

  /** @param url of the server, once it listens */
  constructor(names: readonly string[], drainPerSecond: number, url: () => string) {
    this.#nodes = names.map((name) => ({ name, state: 'starting', pid: undefined, report: undefined }));
    this.#drainPerSecond = drainPerSecond;
    this.#series = new Series(names.length);
    this.bots = new Bots(url, drainPerSecond, (text) => this.happened(text));
  }

  get state(): ShowState {
    const now = Date.now();
    const own = new Set(this.#nodes.map(({ name }) => name));
    const reporter = this.#nodes.find(({ state, report }) => state === 'ready' && report !== undefined);
    return {
      now,
      drainPerSecond: this.#drainPerSecond,
      nodes: this.#nodes.map((node, index) => viewOf(node, index + 1)),
      others: reporter?.report?.others.filter(({ name }) => !own.has(name)) ?? [],
      bots: this.bots.view,
      isRestarting: this.#restarting !== undefined,
      series: this.#series.rows(now),
      happenings: this.#happenings,
    };
  }

  happened(text: string): void {
    this.#happenings.push({ id: ++this.#happened, at: Date.now(), text });
    if (this.#happenings.length > MAX_HAPPENINGS) this.#happenings.shift();
  }

  /** @param node from 1 */
  nodeIs(node: number, state: NodeState, pid?: number): void {
    const known = this.#node(node);
    known.state = state;
    known.pid = pid;
    if (state === 'gone') known.report = undefined;
  }

  /** @param node from 1 */
  reported(node: number, report: Report): void {
    this.#node(node).report = report;
    this.#series.add(node - 1, report.seconds);
  }

  nameOf(node: number): string {
    return this.#node(node).name;
  }

  stateOf(node: number): NodeState {
    return this.#node(node).state;
  }

  /** Returns at once: the page shows what a restart does. */
  obey(command: Command): Outcome {
    switch (command.do) {
      case 'bots':
        this.bots.wanted = command.count;
        return { ok: true };
      case 'slow reader':
        if (this.bots.addSlowReader()) return { ok: true };
        return {
          ok: false,
          problem: `There are ${MAX_SLOW_READERS} slow readers already; each of them lives for 30 s.`,
        };
      case 'restart':
        return this.#restart([command.node], command.allAtOnce);
      case 'restart all':
        return this.#restart(
          this.#nodes.map((_, index) => index + 1),
          command.allAtOnce,
        );
    }
  }

  #restart(nodes: readonly number[], allAtOnce: boolean): Outcome {
    const { fleet } = this;
    if (fleet === undefined)
      return {
        ok: false,
        problem: 'There is one process, and no other node to go to. Start without NODES=1.',
      };
    const unknown = nodes.find((node) => this.#nodes[node - 1] === undefined);
    if (unknown !== undefined) return { ok: false, problem: `There is no node ${unknown}.` };
    // As in a rolling deploy: the other nodes have to take its clients.
    if (this.#restarting !== undefined)
      return { ok: false, problem: `${capitalized(this.#restarting)} restarts already; one at a time.` };
    const unready = this.#nodes.find(({ state }) => state !== 'ready');
    if (unready !== undefined)
      return { ok: false, problem: `${capitalized(unready.name)} is not ready yet.` };
    void this.#restartEach(fleet, nodes, allAtOnce);
    return { ok: true };
  }

  async #restartEach(fleet: Fleet, nodes: readonly number[], allAtOnce: boolean): Promise<void> {
    this.bots.comeBackAtOnce = allAtOnce;
    for (const node of nodes) {
      // It died meanwhile, and starts anew as it is.
      if (this.stateOf(node) !== 'ready') continue;
      this.#restarting = this.nameOf(node);
      await fleet.restart(node, allAtOnce);
    }
    this.#restarting = undefined;
    this.bots.comeBackAtOnce = false;
  }

  #node(node: number): Node {
    const known = this.#nodes[node - 1];
    if (known === undefined) throw new RangeError(`There is no node ${node}`);
    return known;
  }
}

const capitalized = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

function viewOf({ name, state, pid, report }: Node, node: number): NodeView {
  if (report === undefined) return { node, name, state, pid, report };
  const { at, pool, relay, relayState, roundTrips } = report;
  return { node, name, state, pid, report: { at, pool, relay, relayState, roundTrips } };
}
