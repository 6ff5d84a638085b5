import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** How long the machine is observed for one figure, in ms. */
const WINDOW_MS = 2_000;
/** The CPU that other processes may take in a window, in cores: an idle system takes this much now and then. */
const MAX_CORES = 0.1;
/** The share of windows in which they may take more, 0-1. */
const MAX_BUSY_SHARE = 0.05;
/** Unit of the times in `/proc`, in ms: USER_HZ is 100 wherever Node.js runs on Linux. */
const TICK_MS = 10;
/** The parent of all kernel threads: most of their work is done for the sockets that are measured. */
const KTHREADD = '2';

interface Usage {
  /** CPU time of all other processes, in ticks: that of ended ones is in `cutime` and `cstime` of their parents. */
  readonly total: number;
  /** CPU time of each, by id and name, in ticks. */
  readonly each: ReadonlyMap<string, number>;
}

interface Window {
  readonly cores: number;
  /** Name of the process that took most of it. */
  readonly busiest: string;
}

/** The load of other processes, before and during a measurement. Reads `/proc`. */
export class OtherLoad {
  #usage = usageOfOthers();
  #lookedAtMs = performance.now();
  readonly #windows: Window[] = [];

  /** Observes the machine for one window, and continues in the background. */
  static async watch(): Promise<OtherLoad> {
    const load = new OtherLoad();
    await delay(WINDOW_MS);
    load.#look();
    setInterval(() => load.#look(), WINDOW_MS).unref();
    return load;
  }

  /** Why the figures of this run are not worth publishing; `undefined` for a quiet machine. */
  get objection(): string | undefined {
    const [before] = this.#windows;
    if (this.#usage === undefined || before === undefined)
      return 'what other processes do cannot be read from /proc';
    if (before.cores > MAX_CORES) return `before the run other processes took ${show(before)}`;
    const share = this.#busy.length / this.#windows.length;
    return share > MAX_BUSY_SHARE ? `other processes took ${show(this.#worst)} during the run` : undefined;
  }

  toString(): string {
    const [before] = this.#windows;
    if (before === undefined) return 'Other processes: unknown';
    return (
      `Other processes: ${show(before)} before the run, at most ${show(this.#worst)}; ` +
      `above ${MAX_CORES} in ${this.#busy.length} of ${this.#windows.length} windows of ${WINDOW_MS / 1000} s`
    );
  }

  get #busy(): readonly Window[] {
    return this.#windows.filter(({ cores }) => cores > MAX_CORES);
  }

  get #worst(): Window {
    return this.#windows.reduce((worst, window) => (window.cores > worst.cores ? window : worst));
  }

  #look(): void {
    const [before, after] = [this.#usage, usageOfOthers()];
    const nowMs = performance.now();
    if (before === undefined || after === undefined) return;
    const ran = [...after.each].map(([name, ticks]) => [name, ticks - (before.each.get(name) ?? 0)] as const);
    const [busiest = ''] = ran.sort(([, one], [, other]) => other - one)[0] ?? [];
    // The sum gets smaller if a process ends whose time no parent inherits.
    const ticks = Math.max(0, after.total - before.total);
    this.#windows.push({ cores: (ticks * TICK_MS) / (nowMs - this.#lookedAtMs), busiest });
    this.#usage = after;
    this.#lookedAtMs = nowMs;
  }
}

function show({ cores, busiest }: Window): string {
  return `${cores.toFixed(2)} cores${cores > MAX_CORES ? ` (most of it ${busiest})` : ''}`;
}

/** All processes but this one and its children; `undefined` without `/proc`. */
function usageOfOthers(): Usage | undefined {
  try {
    const each = new Map<string, number>();
    let total = 0;
    for (const pid of readdirSync('/proc').filter((name) => Number(name) > 0)) {
      const stat = statOf(pid);
      if (stat === undefined || stat.parent === KTHREADD) continue;
      if (pid === String(process.pid) || stat.parent === String(process.pid)) continue;
      each.set(`${stat.name} ${pid}`, stat.own);
      total += stat.own + stat.ofChildren;
    }
    return { total, each };
  } catch {
    // Not Linux: the load is unknown, so nothing is published.
    return undefined;
  }
}

function statOf(pid: string): { name: string; parent: string; own: number; ofChildren: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // proc_pid_stat(5): the name is in brackets and may contain anything; field 3 follows it.
    const nameEnd = stat.lastIndexOf(')');
    const fields = stat.slice(nameEnd + 2).split(' ');
    const [user, system, ofChildrenUser, ofChildrenSystem] = fields.slice(11, 15).map(Number);
    return {
      name: stat.slice(stat.indexOf('(') + 1, nameEnd),
      parent: fields[1] ?? '',
      own: (user ?? 0) + (system ?? 0),
      ofChildren: (ofChildrenUser ?? 0) + (ofChildrenSystem ?? 0),
    };
  } catch {
    // It has ended since its folder was listed.
    return undefined;
  }
}
