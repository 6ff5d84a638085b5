import type { IncomingMessage } from 'node:http';
import { expected } from '../errors.js';

const AS_SENT =
  "as browsers send them, such as 'https://app.example' (lower case, no path, no default port, no wildcard)";
/** What a browser sends in `Origin`: a scheme and a host, in lower case, without a path. No host has a `*` in it. */
const ORIGIN = /^[a-z][a-z\d+.-]*:\/\/[^/?#@\\\sA-Z*]+$/;

/**
 * Whether the page that asks may talk to this server: it comes from the request's own host and port, or from one of the
 * allowed origins. The scheme is not compared, because a proxy may terminate TLS. Clients other than browsers send no `Origin`,
 * and are allowed.
 *
 * WebSockets have no same-origin policy: without this check any site could use the server in the name of its visitors
 * (cross-site WebSocket hijacking).
 *
 * @param origins as browsers send them, such as `https://app.example`: in lower case, without a path and without the
 * port that the scheme has by default; `'*'` allows all, and there are no other wildcards
 * @throws {TypeError} `origins` is no array of these
 * @see RFC 6455 §10.2
 */
export function isOriginAllowed(
  request: Pick<IncomingMessage, 'headers'>,
  origins: readonly string[] = [],
): boolean {
  // A string has `includes` too: each part of it would be allowed.
  assertOrigins(origins);
  return isFromAllowed(request, origins);
}

/** The same with a list that was checked before. */
export function isFromAllowed(
  { headers }: Pick<IncomingMessage, 'headers'>,
  origins: readonly string[],
): boolean {
  const { origin, host } = headers;
  if (origin === undefined || origins.includes(origin) || origins.includes('*')) return true;
  if (host === undefined || !URL.canParse(origin)) return false;
  const { protocol, host: originHost } = new URL(origin);
  // With the scheme, because `https://a` and `a:443` are the same host and port.
  const own = `${protocol}//${host}`.toLowerCase();
  return ORIGIN.test(own) && URL.canParse(own) && new URL(own).host === originHost;
}

/** Finds what no browser would ever send, such as `https://app.example/` or `app.example`. */
export function assertOrigins(origins: unknown): asserts origins is readonly string[] {
  if (!Array.isArray(origins)) throw new TypeError(expected('origins to be an array', origins));
  for (const origin of origins as unknown[]) {
    if (origin === '*' || isOrigin(origin)) continue;
    throw new TypeError(expected(`origins to be ${AS_SENT}, or '*'`, origin));
  }
}

function isOrigin(origin: unknown): boolean {
  if (typeof origin !== 'string' || !ORIGIN.test(origin) || !URL.canParse(origin)) return false;
  const serialized = new URL(origin).origin;
  // Schemes such as that of browser extensions have none.
  return serialized === 'null' || serialized === origin;
}
