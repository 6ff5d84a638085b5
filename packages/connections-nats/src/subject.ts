import { createHash } from 'node:crypto';

/** A server takes at most 4 KiB for a whole line with a subject in it (max_control_line). */
const LONGEST_PLAIN = 1_024;

/** Throws unless the prefix can begin a subject: tokens without white space and wildcards, separated by dots. */
export function assertPrefix(prefix: unknown): void {
  if (typeof prefix !== 'string' || !/^[^\s.*>$\0-\x1f][^\s.*>\0-\x1f]*(\.[^\s.*>\0-\x1f]+)*$/.test(prefix)) {
    throw new TypeError('Expected a prefix of tokens without white space, "*" and ">", separated by dots');
  }
}

/**
 * The subject of a channel, one token after the prefix. Distinct channels have distinct subjects: base64url holds all
 * of the name, and the letter before it tells it from a hash, which stands for a name that is too long.
 */
export function subjectOf(prefix: string, channel: string): string {
  const name = Buffer.from(channel);
  if (name.length <= LONGEST_PLAIN) return `${prefix}.b${name.toString('base64url')}`;
  return `${prefix}.h${createHash('sha256').update(name).digest('base64url')}`;
}
