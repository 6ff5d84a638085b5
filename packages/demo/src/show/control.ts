import type { IncomingMessage } from 'node:http';
import { pathOf, type Respond, type Route } from '../server/http.js';
import { check } from '../server/protocol.js';
import { isLoopback } from './loopback.js';
import { Command, type Outcome, type ShowState } from './state.js';

const MAX_BODY_BYTES = 1_024;

/** The source of the answers: the `Show` of this process, or that of the primary. */
export interface ShowSource {
  readonly state: () => ShowState | undefined;
  readonly obey: (command: Command) => Promise<Outcome>;
}

/**
 * `GET /show/state` for everybody who may see the page, and `POST /show/control` for the buttons, which change the
 * server. Nobody is logged in, so the buttons work only while the server listens on loopback, and only for its own
 * pages.
 *
 * @param host that the server listens on
 */
export function createRoutes({ state, obey }: ShowSource, host: string): readonly Route[] {
  const getState: Route = (request, respond) => {
    if (pathOf(request) !== '/show/state' || request.method !== 'GET') return false;
    const problem = problemWith(request, host);
    respondJson(respond, 200, { controls: problem ?? 'on', state: state() });
    return true;
  };
  const control: Route = (request, respond) => {
    if (pathOf(request) !== '/show/control' || request.method !== 'POST') return false;
    const problem = problemWith(request, host) ?? problemWithOrigin(request);
    if (problem !== undefined) respondJson(respond, 403, { ok: false, problem });
    else void obeyBody(request, respond, obey);
    return true;
  };
  return [getState, control];
}

async function obeyBody(request: IncomingMessage, respond: Respond, obey: ShowSource['obey']): Promise<void> {
  const body = await readBody(request);
  const checked = body === undefined ? undefined : parse(body);
  if (checked === undefined) respondJson(respond, 413, { ok: false, problem: 'The request is too large.' });
  else if (!checked.ok) respondJson(respond, 400, checked);
  else {
    const outcome = await obey(checked.value);
    respondJson(respond, outcome.ok ? 200 : 409, outcome);
  }
}

function parse(body: string) {
  try {
    return check(Command, JSON.parse(body));
  } catch {
    return { ok: false, problem: 'Expected JSON' } as const;
  }
}

/** `undefined` if the body is too long. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > MAX_BODY_BYTES) return undefined;
      chunks.push(chunk);
    }
  } catch {
    // The client has disconnected, so nobody reads the answer.
  }
  return Buffer.concat(chunks).toString();
}

/** Why the buttons do not work for the sender of this request. */
function problemWith({ socket, headers }: IncomingMessage, host: string): string | undefined {
  if (!isLoopback(host))
    return 'The buttons work only while the server listens on loopback (HOST=127.0.0.1).';
  if (!isLoopback(socket.remoteAddress ?? '')) return 'The buttons work only on the machine of the server.';
  // The name of a foreign site may resolve to 127.0.0.1: the browser then treats it as the site of this server.
  if (!isLoopback(hostnameOf(`http://${headers.host ?? ''}`)))
    return 'The buttons work only at http://localhost or http://127.0.0.1.';
  return undefined;
}

/** Browsers name the page that sends a POST. */
function problemWithOrigin({ headers }: IncomingMessage): string | undefined {
  if (headers.origin === `http://${headers.host ?? ''}`) return undefined;
  return 'The buttons work only for the page of this server.';
}

function hostnameOf(url: string): string {
  return URL.canParse(url) ? new URL(url).hostname : '';
}

function respondJson(respond: Respond, status: number, value: unknown): void {
  respond(status, JSON.stringify(value), { 'Content-Type': 'application/json' });
}
