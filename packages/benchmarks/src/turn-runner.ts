import { setTimeout as delay } from 'node:timers/promises';
import type { Candidate } from './candidates/candidate.js';
import type { Load, ServerRound } from './load.js';
import { exceptedIds, Texts } from './messages.js';

type Call = () => void;

interface Run {
  readonly load: Load;
  /** What each turn calls, prepared before the clock starts. */
  readonly turns: readonly (readonly Call[])[];
  readonly finish: () => void;
  begun: number;
  acknowledged: number;
  isScheduled: boolean;
}

/**
 * Makes the calls of one turn after the other in one phase of the event loop each, and waits for the clients when
 * it is too far ahead of them. Waiting costs no CPU, and what is measured is CPU.
 */
export class TurnRunner {
  readonly #candidate: Candidate;
  #run: Run | undefined;

  constructor(candidate: Candidate) {
    this.#candidate = candidate;
  }

  async run(load: Load): Promise<ServerRound> {
    const turns = this.#prepare(load);
    // Twice moves what was prepared out of the way of the collections to come. Not a full one: V8 would start
    // the round with its smallest young generation, which no server that runs has.
    globalThis.gc?.({ type: 'minor', execution: 'sync' });
    globalThis.gc?.({ type: 'minor', execution: 'sync' });
    const startedAt = performance.now();
    const cpuAtStart = process.cpuUsage();
    await new Promise<void>((finish) => {
      this.#run = { load, turns, finish, begun: 0, acknowledged: 0, isScheduled: false };
      this.#schedule(this.#run);
    });
    const { user, system } = process.cpuUsage(cpuAtStart);
    return { cpuMicros: user + system, wallMs: performance.now() - startedAt };
  }

  acknowledged(times: number): void {
    const run = this.#run;
    if (run === undefined) throw new Error('Acknowledged although nothing is running');
    run.acknowledged += times * run.load.turnsPerAck;
    if (run.acknowledged < run.turns.length) {
      this.#advance(run);
    } else {
      this.#run = undefined;
      run.finish();
    }
  }

  /** Straight from the acknowledgement, as a server is called: in the poll phase. */
  #advance(run: Run): void {
    if (run.isScheduled || !this.#mayGoOn(run)) return;
    if (run.load.gapMs > 0) {
      this.#schedule(run);
      return;
    }
    this.#callTurn(run);
    if (this.#mayGoOn(run)) this.#schedule(run);
  }

  /** The next turn in another phase of the loop. */
  #schedule(run: Run): void {
    run.isScheduled = true;
    const next = (): void => {
      run.isScheduled = false;
      this.#callTurn(run);
      if (this.#mayGoOn(run)) this.#schedule(run);
    };
    if (run.load.gapMs > 0) void delay(run.load.gapMs).then(next);
    else setImmediate(next);
  }

  #mayGoOn({ begun, acknowledged, turns, load }: Run): boolean {
    return begun < turns.length && begun - acknowledged < load.window;
  }

  #callTurn(run: Run): void {
    for (const call of run.turns[run.begun++] ?? []) call();
    this.#candidate.endTurn?.();
  }

  #prepare(load: Load): Call[][] {
    const texts = new Texts(load);
    return Array.from({ length: load.turns }, (_, turn) =>
      Array.from(load.pattern, (letter, index) => {
        const position = load.base + turn * load.pattern.length + index;
        return letter === 'p' ? this.#toEach(texts, position) : this.#toAll(texts, position, load);
      }),
    );
  }

  #toAll(texts: Texts, position: number, { exceptions, gapMs }: Load): Call {
    const candidate = this.#candidate;
    if (exceptions > 0) {
      const text = texts.at(position);
      const ids = exceptedIds(position, exceptions, candidate.connected());
      return () => candidate.broadcastExcept?.(text, ids);
    }
    // Where latency is measured the message tells when it was sent.
    if (gapMs > 0) {
      return () => candidate.broadcast(texts.at(position, undefined, process.hrtime.bigint()));
    }
    const text = texts.at(position);
    return () => candidate.broadcast(text);
  }

  #toEach(texts: Texts, position: number): Call {
    const candidate = this.#candidate;
    const connections = candidate.connected();
    const each = Array.from({ length: connections }, (_, id) => texts.at(position, id));
    return () => {
      for (let id = 0; id < connections; id++) candidate.sendTo?.(id, each[id] as string);
    };
  }
}
