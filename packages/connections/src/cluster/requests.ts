import { wheel } from '../liveness/timing-wheel.js';
import { Alarm } from './alarm.js';
import type { ClusterCount, NodeInfo } from './cluster-info.js';

/** What a node answers when it is asked about one connection. */
export const Answer = {
  /** It is not here. */
  None: 0,
  /** It is here, and what was asked for is done. */
  Done: 1,
  /** It is here, but did not take the message. */
  Refused: 2,
} as const;

interface OpenRequest {
  readonly dueAtMs: number;
  onAnswer(node: string, value: number): void;
  onGone(node: string): void;
  /** The broker has told how many other nodes have got the request. */
  onReceivers(others: number): void;
  /** There will be no more answers. */
  end(): void;
}

/** Requests of this node that other nodes answer. Each of them settles within `requestTimeout`, and none rejects. */
export class Requests {
  readonly #timeoutMs: number;
  readonly #isExclusive: boolean;
  readonly #pending = new Map<number, OpenRequest>();
  readonly #timeout = new Alarm((nowMs) => this.#expire(nowMs));
  #last = 0;

  /** @param isExclusive at most one node has each id */
  constructor(timeoutMs: number, isExclusive: boolean) {
    this.#timeoutMs = timeoutMs;
    this.#isExclusive = isExclusive;
  }

  /**
   * Asks for one connection, wherever it is.
   *
   * @returns `true` on the word of the node that has it; `false` when nobody has it, or nobody says so in time
   */
  find(ask: (request: number) => void): Promise<boolean> {
    return new Promise((resolve) => {
      this.#add(ask, (done) => {
        let answers = 0;
        let others: number | undefined;
        const finish = (isDone: boolean): void => {
          done();
          resolve(isDone);
        };
        const check = (): void => {
          if (others !== undefined && answers >= others) finish(false);
        };
        return {
          onAnswer: (_node, value) => {
            answers++;
            if (value === Answer.Done) finish(true);
            // Nobody else has the id; otherwise another node may have it, too, and deliver.
            else if (value === Answer.Refused && this.#isExclusive) finish(false);
            else check();
          },
          onGone: () => undefined,
          onReceivers: (count) => {
            others = count;
            check();
          },
          end: () => finish(false),
        };
      });
    });
  }

  /** Asks all nodes that listen to a namespace. @returns resolves when they have answered, or the time is over */
  tell(ask: (request: number) => void): Promise<void> {
    return new Promise((resolve) => {
      this.#add(ask, (done) => {
        let answers = 0;
        let others = Infinity;
        const finish = (): void => {
          done();
          resolve();
        };
        return {
          onAnswer: () => {
            if (++answers >= others) finish();
          },
          onGone: () => undefined,
          onReceivers: (count) => {
            others = count;
            if (answers >= others) finish();
          },
          end: finish,
        };
      });
    });
  }

  /** Sums up the answers of these nodes, at least one; `local` is that of this one. */
  count(local: number, nodes: readonly NodeInfo[], ask: (request: number) => void): Promise<ClusterCount> {
    return new Promise((resolve) => {
      this.#add(ask, (done) => {
        const expected = new Map(nodes.map(({ id, name }) => [id, name]));
        const answered = new Set<string>();
        const missing: ClusterCount['missing'][number][] = [];
        let total = local;
        const finish = (): void => {
          done();
          for (const [id, name] of expected) missing.push({ id, name, reason: 'timeout' });
          resolve({ total, answered: answered.size + 1, missing });
        };
        return {
          onAnswer: (node, value) => {
            if (answered.has(node)) return;
            answered.add(node);
            expected.delete(node);
            total += value;
            if (expected.size === 0) finish();
          },
          onGone: (node) => {
            const name = expected.get(node);
            if (name === undefined) return;
            expected.delete(node);
            missing.push({ id: node, name, reason: 'left' });
            if (expected.size === 0) finish();
          },
          onReceivers: () => undefined,
          end: finish,
        };
      });
    });
  }

  onAnswer(node: string, request: number, value: number): void {
    this.#pending.get(request)?.onAnswer(node, value);
  }

  onReceivers(request: number, others: number): void {
    this.#pending.get(request)?.onReceivers(others);
  }

  /** The request has not reached the broker. */
  onDropped(request: number): void {
    this.#pending.get(request)?.end();
  }

  onGone(node: string): void {
    for (const pending of [...this.#pending.values()]) pending.onGone(node);
  }

  /** The link does not work any more: nobody will answer. */
  end(): void {
    for (const pending of [...this.#pending.values()]) pending.end();
  }

  #add(ask: (request: number) => void, make: (done: () => void) => Omit<OpenRequest, 'dueAtMs'>): void {
    const request = ++this.#last;
    const done = (): void => void this.#pending.delete(request);
    this.#pending.set(request, { dueAtMs: wheel.nowMs + this.#timeoutMs, ...make(done) });
    if (!this.#timeout.isSet) this.#timeout.set(this.#timeoutMs);
    ask(request);
  }

  /** All of them wait equally long, so the first ones are due first. */
  #expire(nowMs: number): void {
    for (const pending of [...this.#pending.values()]) {
      if (pending.dueAtMs > nowMs) {
        this.#timeout.set(pending.dueAtMs - nowMs);
        return;
      }
      pending.end();
    }
  }
}
