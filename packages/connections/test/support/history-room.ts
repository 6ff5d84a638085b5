import { expect } from 'vitest';
import type { ServerOptions } from 'ws';
import { Connection, ConnectionsPool, type ConnectionsPoolOptions } from '../../src/index.js';
import { digest } from './engine.js';
import { Loopback } from './loopback.js';
import type { TappedMessage } from './strict-reader.js';
import { connectTapped, type TappedPair } from './tapped-client.js';

export const TAKEOVER: ServerOptions = { perMessageDeflate: { threshold: 0 } };
export const SMALL_HISTORY_BYTES = 512;

export interface Member extends TappedPair {
  readonly connection: Connection;
}

type ClientOptions = Parameters<typeof connectTapped>[1] & { namespace?: string };

/** A pool with a history, and clients that keep a compression context. */
export class Room {
  readonly pool: ConnectionsPool;
  readonly loopback: Loopback;

  constructor(loopback: Loopback, options: ConnectionsPoolOptions = {}) {
    this.loopback = loopback;
    this.pool = new ConnectionsPool({ compression: { history: { bytes: SMALL_HISTORY_BYTES } }, ...options });
  }

  static async open(options?: ConnectionsPoolOptions): Promise<Room> {
    return new Room(await Loopback.start(TAKEOVER), options);
  }

  /** Connects a client that is not yet in a pool. */
  async visitor(id: string, { namespace = 'default', ...options }: ClientOptions = {}): Promise<Member> {
    const pair = await connectTapped(this.loopback, options);
    return { ...pair, connection: new Connection(id, namespace, pair.socket) };
  }

  async member(id: string, options?: ClientOptions): Promise<Member> {
    const member = await this.visitor(id, options);
    await this.pool.newConnection(member.connection);
    return member;
  }

  /** One broadcast in its own turn. */
  async broadcast(message: string | Buffer, exceptions?: string[]): Promise<void> {
    await this.pool.broadcastMessage('default', message, exceptions);
  }
}

/** A client has received exactly this, according to `ws` and to our own decoder. */
export async function expectMessages(
  { client }: Member,
  messages: readonly (string | Buffer)[],
): Promise<void> {
  const digests = messages.map(digest);
  expect((await client.exactly(messages.length)).map(digest)).toEqual(digests);
  const tapped = client.tapped.map(({ message, isBinary }) => (isBinary ? message : message.toString()));
  expect(tapped.map(digest)).toEqual(digests);
}

export async function last({ client }: Member): Promise<TappedMessage> {
  return (await client.settled()).at(-1)!;
}

export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
