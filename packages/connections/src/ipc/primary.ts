import { Pending } from './pending.js';
import { isOurs, KIND, type Bye, type Change, type FromPrimary, type FromWorker } from './protocol.js';

/** The side of a worker: `process`, as far as it is used here. */
export interface PrimaryChannel {
  readonly connected: boolean;
  send(
    message: FromWorker,
    handle: undefined,
    options: undefined,
    sent: (error: Error | null) => void,
  ): unknown;
  on(event: 'message' | 'disconnect', listener: (message: unknown) => void): unknown;
  off(event: 'message' | 'disconnect', listener: (message: unknown) => void): unknown;
  emit(event: string, message: object): unknown;
}

/** Requests of all adapters of this process: they hear each other's answers. */
let lastRequest = 0;

/** The primary, as an adapter in a worker sees it. What is sent to it and asked of it settles within 5 s. */
export class Primary {
  readonly #channel: PrimaryChannel;
  readonly #writes = new Pending();
  readonly #questions = new Pending();
  readonly #answers = new Map<number, () => void>();
  #onMessage: ((message: unknown) => void) | undefined;
  #onDisconnect: (() => void) | undefined;

  constructor(channel: PrimaryChannel) {
    this.#channel = channel;
  }

  /** @throws {Error} the channel is closed */
  assertConnected(): void {
    if (this.#channel.connected) return;
    // A process that disconnects while a message arrives waits for the next one (`_disconnect` in Node's child_process),
    // but Node drops all that comes from then on: the process would never end. This ends the wait, and nothing else.
    setImmediate(() => this.#channel.emit('internalMessage', {}));
    throw new Error('The primary is not connected');
  }

  listen(onMessage: (message: FromPrimary) => void, onDisconnect: () => void): void {
    this.#onMessage = (message) => {
      if (!isOurs(message)) return;
      const ours = message as FromPrimary;
      if (ours[KIND] === 'done') this.#answers.get(ours.request)?.();
      else onMessage(ours);
    };
    this.#onDisconnect = onDisconnect;
    this.#channel.on('message', this.#onMessage);
    this.#channel.on('disconnect', this.#onDisconnect);
  }

  ignore(): void {
    if (this.#onMessage !== undefined) this.#channel.off('message', this.#onMessage);
    if (this.#onDisconnect !== undefined) this.#channel.off('disconnect', this.#onDisconnect);
  }

  /** Says something that needs no answer. Where the channel is closed, its `disconnect` tells. */
  tell(message: FromWorker): void {
    this.#send(message).catch(() => undefined);
  }

  /** Resolves when the message is written to the pipe: a primary that is too busy to read delays it. */
  write(message: FromWorker): Promise<void> {
    return this.#writes.settle(this.#send(message));
  }

  /** Resolves when the primary has answered. */
  async change(kind: Change[typeof KIND], prefix: string, channels: readonly string[]): Promise<void> {
    await this.#ask({ [KIND]: kind, prefix, request: ++lastRequest, channels });
  }

  /** Resolves when everything has been read that the primary has sent. */
  async leave(prefix: string): Promise<void> {
    await this.#ask({ [KIND]: 'bye', prefix, request: ++lastRequest });
  }

  async #ask(question: Change | Bye): Promise<void> {
    const { request } = question;
    const answered = new Promise<void>((resolve, reject) => {
      this.#answers.set(request, resolve);
      this.#send(question).catch(reject);
    });
    try {
      await this.#questions.settle(answered);
    } finally {
      this.#answers.delete(request);
    }
  }

  /** Rejects all that still waits: nothing more reaches the primary. */
  fail(error: Error): void {
    this.#writes.fail(error);
    this.failQuestions(error);
  }

  /** Rejects what waits for an answer. What is being written arrives. */
  failQuestions(error: Error): void {
    this.#questions.fail(error);
  }

  #send(message: FromWorker): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#channel.send(message, undefined, undefined, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
  }
}
