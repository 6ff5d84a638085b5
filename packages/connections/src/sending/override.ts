import { isThenable, type Answers } from './answers.js';
import { PendingCopy, type Tally } from './delivery.js';
import type { Envelope } from './envelope.js';
import type { WriterOwner } from './bounded-socket.js';

/**
 * Broadcasts for a connection whose `send` is overridden.
 *
 * They are passed to that `send` at once, not at the end of the turn, because private messages come to it at once too.
 * What it sends on comes back through the outbox like a private message.
 */
export class Override {
  readonly #owner: Pick<WriterOwner, 'sendOverridden' | 'failed'>;
  readonly #answers: () => Answers;
  readonly #queue: { readonly envelope: Envelope; readonly tally: Tally }[] = [];
  #isRunning = false;
  /** Messages that have come back so far, and that had when the running call began. */
  #returned = 0;
  #returnedBefore = 0;
  /** Calls that have not sent anything on yet and may still do so, by their message. */
  readonly #owed = new Map<unknown, Set<object>>();
  /** It has sent something else on than it was given: a message that comes back does not tell of which call it is. */
  #changesMessages = false;

  constructor(owner: Pick<WriterOwner, 'sendOverridden' | 'failed'>, answers: () => Answers) {
    this.#owner = owner;
    this.#answers = answers;
  }

  /** Some message has not been passed on yet. */
  get isBusy(): boolean {
    return this.#isRunning;
  }

  add(envelope: Envelope, tally: Tally): void {
    this.#queue.push({ envelope, tally });
  }

  /** Passes on what waits. What user code adds meanwhile goes to the end. */
  run(isEnded: () => boolean): void {
    // Once the running call has sent its message on, a second message is one of its own: what waits comes before that.
    if (this.#isRunning && this.#returned < this.#returnedBefore + 2) return;
    const [wasRunning, returnedBefore] = [this.#isRunning, this.#returnedBefore];
    this.#isRunning = true;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      this.#returnedBefore = this.#returned;
      if (isEnded()) next.tally.count('failed');
      else this.#pass(next.envelope.deferredMessage, next.tally);
    }
    this.#isRunning = wasRunning;
    this.#returnedBefore = returnedBefore;
  }

  /** Calls the overridden `send` for a caller who wants its answer: the close that follows waits for it. */
  call(message: unknown): unknown {
    const returnedBefore = this.#returned;
    const answer = this.#owner.sendOverridden(message);
    if (!isThenable(answer)) return answer;
    // The caller is told of a rejection.
    this.#answers().await(answer, new PendingCopy(), () => undefined);
    this.#expectReturn(message, answer, returnedBefore);
    return answer;
  }

  #pass(message: unknown, tally: Tally): void {
    const returnedBefore = this.#returned;
    try {
      const answer = this.#owner.sendOverridden(message);
      if (!isThenable(answer)) {
        tally.count(answer === false ? 'failed' : 'sent');
        return;
      }
      this.#answers().await(answer, tally);
      this.#expectReturn(message, answer, returnedBefore);
    } catch (error) {
      tally.count('failed');
      this.#owner.failed(error);
    }
  }

  /** A message has come back. @returns whether it may still be sent although closing has begun */
  onReturn(message: unknown): boolean {
    this.#returned++;
    if (this.#owed.size === 0) return false;
    const isOwed = this.#owed.has(message);
    // Otherwise it is of a call that nobody waits for, which must not take the place of one of these.
    if (isOwed || this.#changesMessages) this.#take(isOwed ? message : this.#owed.keys().next().value);
    return true;
  }

  /** Forgets one call with this message, the first one unless it is given. @returns whether it was there */
  #take(message: unknown, call?: object): boolean {
    const calls = this.#owed.get(message);
    const [first] = calls ?? [];
    const wasThere = calls?.delete(call ?? (first as object)) ?? false;
    if (calls?.size === 0) this.#owed.delete(message);
    return wasThere;
  }

  /** Unless it has sent something on already, it may do so until it answers. */
  #expectReturn(message: unknown, answer: PromiseLike<unknown>, returnedBefore: number): void {
    if (this.#returned !== returnedBefore) return;
    const call = {};
    const calls = this.#owed.get(message);
    if (calls === undefined) this.#owed.set(message, new Set([call]));
    else calls.add(call);
    const settled = (): void => {
      // It has ended without sending it on as it was.
      if (this.#take(message, call)) this.#changesMessages = true;
    };
    Promise.resolve(answer).then(settled, settled);
  }
}
