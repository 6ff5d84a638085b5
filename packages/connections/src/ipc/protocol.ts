/*
 * What workers and their primary say to each other. The program's own messages travel on the same channel.
 */

/** The field that all messages of ours have, with their kind in it, and no others. */
export const KIND = 'soketi:relay';

/** The number of the first hello of an adapter. */
export const FIRST_SESSION = 1;

/** From a worker. The first one of an adapter has its subscriptions start over. Also tells how to send messages to it. */
export interface Hello {
  readonly [KIND]: 'hello';
  readonly prefix: string;
  /** Tells one hello of an adapter from the next: 1, 2, … */
  readonly session: number;
  /** Arrives as a `Buffer` with `serialization: 'advanced'`, as something else with JSON. */
  readonly probe: unknown;
}

/** From a worker: its subscriptions end. Answered by `done`, the last that comes of this prefix. */
export interface Bye {
  readonly [KIND]: 'bye';
  readonly prefix: string;
  readonly request: number;
}

/** From a worker: all at once, and answered by `done`. */
export interface Change {
  readonly [KIND]: 'subscribe' | 'unsubscribe';
  readonly prefix: string;
  readonly request: number;
  readonly channels: readonly string[];
}

/** To the primary, and from it to each worker that has subscribed to the channel. */
export interface Message {
  readonly [KIND]: 'message';
  readonly prefix: string;
  readonly channel: string;
  readonly data: unknown;
}

/** From the primary, as the answer to `hello`. */
export interface Welcome {
  readonly [KIND]: 'welcome';
  readonly prefix: string;
  readonly session: number;
  readonly probe: unknown;
}

/** From the primary, as the answer to a `Change` or a `Bye`. */
export interface Done {
  readonly [KIND]: 'done';
  readonly prefix: string;
  readonly request: number;
}

/** From the primary, to all workers: a relay has started, say hello; or it has stopped. */
export interface Announcement {
  readonly [KIND]: 'started' | 'stopped';
}

export type FromWorker = Hello | Bye | Change | Message;
export type FromPrimary = Welcome | Done | Message | Announcement;

export const PROBE: unknown = Buffer.of(0);

/** Whether the channel that it has come through carries bytes as they are. */
export const carriesBytes = (probe: unknown): boolean => probe instanceof Uint8Array;

/**
 * The bytes of a message as the channel carries them best: JSON makes a list of numbers of a Buffer, and six bytes of a
 * control character in a string. In base64 each character is one byte, and their number is known. Takes what it has
 * returned as well, so that a message can go from one kind of channel to the other.
 */
export function pack(data: Uint8Array | string, asBytes: boolean): Uint8Array | string {
  if (typeof data === 'string') return asBytes ? Buffer.from(data, 'base64') : data;
  return asBytes ? data : unpack(data).toString('base64');
}

export function unpack(data: Uint8Array | string): Buffer {
  if (typeof data === 'string') return Buffer.from(data, 'base64');
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

export const isPacked = (data: unknown): data is Uint8Array | string =>
  typeof data === 'string' || data instanceof Uint8Array;

/** Narrows what has come to a message of ours, without a look at its other fields. */
export function isOurs(message: unknown): message is { readonly [KIND]: unknown } {
  return typeof message === 'object' && message !== null && KIND in message;
}
