/** Heartbeats and counts: every node listens. */
export const ALL = 'a';

/** Answers to one node. */
export function channelOfNode(id: string): string {
  return `n${id}`;
}

/**
 * What concerns one namespace. Names of channels are well-formed strings; namespaces with lone surrogates are not, and
 * two of them must not become one channel.
 */
export function channelOf(namespace: string): string {
  return isWellFormed(namespace) ? `s${namespace}` : `u${Buffer.from(namespace, 'utf16le').toString('hex')}`;
}

/** The namespace of a channel; `undefined` if it is not that of a namespace. */
export function namespaceOf(channel: string): string | undefined {
  if (channel.startsWith('s')) return channel.slice(1);
  return channel.startsWith('u') ? Buffer.from(channel.slice(1), 'hex').toString('utf16le') : undefined;
}

const LONE_SURROGATE = /\p{Surrogate}/u;

function isWellFormed(text: string): boolean {
  return !LONE_SURROGATE.test(text);
}
