import { EventEmitter, once } from 'node:events';
import type { ClusterLink } from '../../src/index.js';

/** Everything that an adapter has told its link, and a way to wait for it. */
export class RecordedLink extends EventEmitter implements ClusterLink {
  /** Messages by channel, in order. */
  readonly received = new Map<string, Buffer[]>();
  readonly downs: (Error | undefined)[] = [];
  readonly warnings: Error[] = [];
  ups = 0;
  isUp = false;
  /** Called with each message, after it is recorded. */
  onReceive: () => void = () => undefined;

  receive(channel: string, message: Buffer): void {
    const messages = this.received.get(channel) ?? [];
    this.received.set(channel, messages);
    // An adapter may reuse the memory.
    messages.push(Buffer.from(message));
    this.emit('change');
    this.onReceive();
  }

  up(): void {
    this.ups++;
    this.isUp = true;
    this.emit('change');
  }

  down(error?: Error): void {
    this.downs.push(error);
    this.isUp = false;
    this.emit('change');
  }

  warn(error: Error): void {
    this.warnings.push(error);
    this.emit('change');
  }

  /** The messages of a channel as text. */
  texts(channel: string): string[] {
    return (this.received.get(channel) ?? []).map(String);
  }

  get total(): number {
    return [...this.received.values()].reduce((sum, messages) => sum + messages.length, 0);
  }

  /** Resolves as soon as the condition is true. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await once(this, 'change');
  }

  untilUp(): Promise<void> {
    return this.until(() => this.isUp);
  }

  untilDown(): Promise<void> {
    return this.until(() => !this.isUp && this.downs.length > 0);
  }
}
