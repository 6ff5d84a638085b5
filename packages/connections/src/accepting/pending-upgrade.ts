import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

/**
 * How much a client may send during its lookup before we stop reading, in bytes. It has to wait for the 101 response before
 * it sends anything (RFC 6455 §4.1).
 */
const MAX_EARLY_BYTES = 64 * 1024;

/** What became of a lookup. */
export type LookupOutcome<Answer> =
  | { readonly kind: 'answered'; readonly answer: Answer }
  | { readonly kind: 'failed'; readonly error: unknown }
  /** The client has gone: nobody waits for a refusal. */
  | { readonly kind: 'gone' }
  | { readonly kind: 'timeout' };

/**
 * One upgrade request, from its first instant until `ws` takes its socket over or a refusal is written. Node has taken its
 * own listeners off the socket by then: an `error` without a listener would end the process.
 */
export class PendingUpgrade {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  /** What the client has sent after its request, as far as it was read. */
  readonly #early: Buffer[];
  readonly #abort = new AbortController();

  constructor(request: IncomingMessage, socket: Duplex, head: Buffer) {
    this.request = request;
    this.socket = socket;
    this.#early = [head];
    socket.on('error', ignore);
  }

  /** What the client has sent already, for `ws`. More may wait in the socket. */
  get head(): Buffer {
    return Buffer.concat(this.#early);
  }

  /** Aborts when the client goes, or the lookup takes too long. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** The client has gone: there is nobody to answer. */
  get isGone(): boolean {
    return this.socket.destroyed;
  }

  /** `ws` has taken the socket over, with listeners of its own. */
  handOver(): void {
    this.socket.off('error', ignore);
  }

  /**
   * Waits for the answer, for the client to go, or for the time to pass, whichever is first.
   *
   * @param onEnd called once the lookup is over, or was given the time that it may take: if the client goes, it still runs
   */
  async wait<Answer>(
    answer: PromiseLike<Answer>,
    timeoutMs: number,
    onEnd: () => void,
  ): Promise<LookupOutcome<Answer>> {
    const stopWatching = this.#watchForEnd();
    let onClose!: () => void;
    try {
      return await new Promise<LookupOutcome<Answer>>((resolve) => {
        const timer = setTimeout(() => {
          onEnd();
          resolve({ kind: 'timeout' });
          this.#abort.abort(new DOMException('The lookup took too long', 'TimeoutError'));
        }, timeoutMs).unref();
        onClose = () => {
          resolve({ kind: 'gone' });
          this.#abort.abort(new DOMException('The client has gone', 'AbortError'));
        };
        this.socket.once('close', onClose);
        // Only the first of them counts; nobody waits for the others.
        const settle = (outcome: LookupOutcome<Answer>): void => {
          clearTimeout(timer);
          onEnd();
          resolve(outcome);
        };
        Promise.resolve(answer).then(
          (value) => settle({ kind: 'answered', answer: value }),
          (error: unknown) => settle({ kind: 'failed', error }),
        );
      });
    } finally {
      this.socket.off('close', onClose);
      await stopWatching();
    }
  }

  /**
   * Notices that the client ends its side politely. A socket tells that only after all that came before has been read, so
   * what the client sends already is kept for `ws`.
   */
  #watchForEnd(): () => Promise<void> {
    const { socket } = this;
    let bytes = 0;
    const onReadable = (): void => {
      while (bytes < MAX_EARLY_BYTES) {
        const chunk = socket.read() as Buffer | null;
        if (chunk === null) return;
        this.#early.push(chunk);
        bytes += chunk.length;
      }
    };
    const onEnd = (): void => void socket.destroy();
    socket.on('readable', onReadable).once('end', onEnd);
    return () => {
      socket.off('readable', onReadable).off('end', onEnd);
      // The stream is in its first state again a tick later. If it were handed over before, it would forget that it was
      // paused meanwhile.
      return new Promise((resolve) => process.nextTick(resolve));
    };
  }
}

function ignore(): void {
  // `close` follows.
}
