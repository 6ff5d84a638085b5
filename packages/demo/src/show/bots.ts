import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { MAX_SLOW_READERS, type BotsView, type FromBots, type ToBots } from './state.js';

const PROGRAM = fileURLToPath(new URL('./bots-process.js', import.meta.url));
const NONE: FromBots = { open: 0, failed: 0, slowReaders: 0 };

/** The process of the bots, which starts when the first bots are requested. */
export class Bots {
  readonly #url: () => string;
  readonly #ratePerSecond: number;
  readonly #happened: (text: string) => void;
  #child: ChildProcess | undefined;
  #wanted = 0;
  #told = NONE;
  #isStopped = false;

  /**
   * @param url of the server, once it listens
   * @param ratePerSecond no more bots come or go in a second
   * @param happened called with a sentence about what the page does not show otherwise
   */
  constructor(url: () => string, ratePerSecond: number, happened: (text: string) => void) {
    this.#url = url;
    this.#ratePerSecond = ratePerSecond;
    this.#happened = happened;
  }

  get view(): BotsView {
    return { wanted: this.#wanted, ...this.#told };
  }

  set wanted(count: number) {
    this.#wanted = count;
    this.#tell({ bots: 'count', count });
  }

  /** @returns whether there is room for one more */
  addSlowReader(): boolean {
    if (this.#told.slowReaders >= MAX_SLOW_READERS) return false;
    // Until the next report: there may be more clicks than reports.
    this.#told = { ...this.#told, slowReaders: this.#told.slowReaders + 1 };
    this.#tell({ bots: 'slow reader' });
    return true;
  }

  /** Whether bots reconnect at the moment in which they are closed. */
  set comeBackAtOnce(isOn: boolean) {
    if (this.#child !== undefined) this.#tell({ bots: 'at once', isOn });
  }

  stop(): void {
    this.#isStopped = true;
    this.#child?.kill();
  }

  #tell(message: ToBots): void {
    if (this.#isStopped) return;
    this.#child ??= this.#start();
    this.#child.send(message, () => undefined);
  }

  #start(): ChildProcess {
    const child = fork(PROGRAM, [this.#url(), `${this.#ratePerSecond}`], { execArgv: [] });
    child.on('message', (told: FromBots) => (this.#told = told));
    child.on('exit', () => {
      this.#child = undefined;
      this.#told = NONE;
      this.#wanted = 0;
      if (!this.#isStopped) this.#happened('The process of the bots has ended, and all bots with it.');
    });
    return child;
  }
}
