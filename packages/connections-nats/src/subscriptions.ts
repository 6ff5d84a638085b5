import type { NatsClient, NatsSubscription } from './client.js';
import { subjectOf } from './subject.js';

/** One channel that is subscribed to. */
export interface Subscribed {
  readonly subscription: NatsSubscription;
  /** The server has read it, and has not refused it. */
  isConfirmed: boolean;
  /** Why the server has refused it, or ended it. */
  error?: Error;
}

/** What subscriptions lead to. None of it may throw: in the client it would end the loop that reads, for good. */
export interface SubscriptionEvents {
  receive(channel: string, data: Uint8Array): void;
  /** The server has ended a subscription that it had confirmed. */
  ended(error: Error): void;
}

/** The channels that are subscribed to, each once. The connection subscribes again by itself when it reconnects. */
export class Subscriptions {
  readonly #connection: NatsClient;
  readonly #prefix: string;
  readonly #events: SubscriptionEvents;
  readonly #all = new Map<string, Subscribed>();

  constructor(connection: NatsClient, prefix: string, events: SubscriptionEvents) {
    this.#connection = connection;
    this.#prefix = prefix;
    this.#events = events;
  }

  add(channel: string): Subscribed {
    const present = this.#all.get(channel);
    if (present !== undefined) return present;
    const callback = (error: Error | null, message: { readonly data: Uint8Array }): void => {
      if (error) this.#onError(channel, added, error);
      else this.#events.receive(channel, message.data);
    };
    const subscription = this.#connection.subscribe(subjectOf(this.#prefix, channel), { callback });
    const added: Subscribed = { subscription, isConfirmed: false };
    this.#all.set(channel, added);
    return added;
  }

  delete(channel: string): void {
    this.#all.get(channel)?.subscription.unsubscribe();
    this.#all.delete(channel);
  }

  clear(): void {
    for (const channel of this.#all.keys()) this.delete(channel);
  }

  #onError(channel: string, subscribed: Subscribed, error: Error): void {
    subscribed.error = error;
    if (this.#all.get(channel) !== subscribed) return;
    this.#all.delete(channel);
    if (subscribed.isConfirmed) this.#events.ended(error);
  }
}
