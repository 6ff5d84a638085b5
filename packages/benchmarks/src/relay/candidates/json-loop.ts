import { connect } from '@nats-io/transport-node';
import { randomUUID } from 'node:crypto';
import type { NodeSettings } from '../calls.js';
import type { Payload } from '../payloads.js';
import { ioredis, nodeRedis } from './brokers.js';
import { AUDIENCE, type RelayCandidate, type Member } from './candidate.js';

/** What a node publishes; bytes as base64. */
interface Published {
  readonly from: string;
  readonly except?: string | undefined;
  readonly text?: string;
  readonly bytes?: string;
}

/** Publishes a text to all nodes, this one included. */
type Publish = (text: string) => void;

/** What most teams write: each message is published as JSON, and every node sends it to its own members in a loop. */
export const jsonLoop: RelayCandidate = {
  modules: { 'node-redis': ['redis'], ioredis: ['ioredis'], nats: ['@nats-io/transport-node'], ipc: [] },
  async join(settings) {
    const from = randomUUID();
    const members = new Map<string, Member>();
    const deliver = (message: Payload, except: string | undefined): void => {
      for (const [id, member] of members) if (id !== except) member.take(message);
    };
    const receive = (json: string): void => {
      const published = JSON.parse(json) as Published;
      if (published.from === from) return;
      const { text, bytes, except } = published;
      deliver(text ?? Buffer.from(bytes ?? '', 'base64'), except);
    };
    const publish = await subscribe(settings, receive);
    return {
      addMember(id, member) {
        members.set(id, member);
        return Promise.resolve();
      },
      broadcast(message, except) {
        const body = typeof message === 'string' ? { text: message } : { bytes: message.toString('base64') };
        publish(JSON.stringify({ from, except, ...body } satisfies Published));
        deliver(message, except);
      },
    };
  },
};

async function subscribe(
  { transport, port }: NodeSettings,
  receive: (json: string) => void,
): Promise<Publish> {
  switch (transport) {
    case 'node-redis': {
      const [client, subscriber] = [await nodeRedis(port), await nodeRedis(port)];
      await subscriber.subscribe(AUDIENCE, receive);
      return (text) => void client.publish(AUDIENCE, text);
    }
    case 'ioredis': {
      const [client, subscriber] = [ioredis(port), ioredis(port)];
      subscriber.on('message', (_channel, text) => receive(text));
      await subscriber.subscribe(AUDIENCE);
      return (text) => void client.publish(AUDIENCE, text);
    }
    case 'nats': {
      const connection = await connect({ port });
      connection.subscribe(AUDIENCE, { callback: (_error, message) => receive(message.string()) });
      await connection.flush();
      return (text) => connection.publish(AUDIENCE, text);
    }
    default:
      process.on('message', (message: { readonly relayed?: string }) => {
        if (message.relayed !== undefined) receive(message.relayed);
      });
      return (text) => process.send?.({ relayed: text });
  }
}
