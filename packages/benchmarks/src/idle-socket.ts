import { EventEmitter } from 'node:events';

/** An open socket on which nothing happens. */
export class IdleSocket extends EventEmitter {
  readonly readyState = 1;
  send(): void {
    throw new Error('Nothing is sent here');
  }
  close(): void {
    throw new Error('Nothing is closed here');
  }
}
