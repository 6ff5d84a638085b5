export { natsAdapter, type NatsAdapterOptions } from './nats-adapter.js';
export type { NatsClient, NatsSubscription } from './client.js';
