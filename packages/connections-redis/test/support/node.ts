import type { ClusterAdapter } from '@soketi/connections';
import { onTestFinished } from '../../../connections/test/support/on-test-finished.js';
import { RecordedLink } from '../../../connections/test/support/recorded-link.js';
import { redisAdapter } from '../../src/index.js';
import type { ClientOptions, Library, TestClient } from './clients.js';

/** A node whose link does what the cluster layer does: it subscribes again with each `up`. */
export class TestNode {
  readonly link = new RecordedLink();
  readonly adapter: ClusterAdapter;
  readonly client: TestClient;
  /** Rejections of its own `subscribe`. */
  readonly refusals: Error[] = [];

  /** @param receiver makes the receiving connection, if it differs from the client */
  constructor(library: Library, options: ClientOptions, receiver?: ClientOptions) {
    this.client = library.create(options);
    const subscriber = receiver && library.create(receiver).client;
    this.adapter = redisAdapter({ client: this.client.client, ...(subscriber && { subscriber }) });
    onTestFinished(async () => {
      await this.adapter.close();
      this.client.end();
    });
    const { link } = this;
    const up = link.up.bind(link);
    link.up = () => {
      this.adapter.subscribe(['c']).then(up, (error: unknown) => this.refusals.push(error as Error));
    };
  }

  /** Connects, and resolves when it is subscribed to the channel "c". */
  async start(): Promise<this> {
    await this.client.connect();
    this.adapter.start(this.link);
    await this.link.untilUp();
    return this;
  }

  /** Resolves when a message of this node has come back to it. */
  async echo(): Promise<void> {
    const before = this.link.texts('c').length;
    for (;;) {
      await this.link.untilUp();
      try {
        await this.adapter.publish('c', Buffer.from('echo'));
        break;
      } catch {
        // The next outage has already begun.
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
    await this.link.until(() => this.link.texts('c').length > before);
  }
}
