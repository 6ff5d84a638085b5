import { readFileSync } from 'node:fs';
import type { IncomingMessage, OutgoingHttpHeaders, RequestListener, ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const SECURITY_HEADERS = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
};

const PUBLIC = new URL('../../public/', import.meta.url);
const UPLOT = pathToFileURL(path.join(createRequire(import.meta.url).resolve('uplot/package.json'), '../'));

const file = (name: string, type: string, folder = PUBLIC) => ({
  type: `text/${type}; charset=utf-8`,
  body: readFileSync(new URL(name, folder)),
});
const script = (name: string) => [`/${name}`, file(name, 'javascript')] as const;

/** Everything that is served, by path: no path of a request is ever used in the file system. */
const FILES = new Map([
  ['/', file('index.html', 'html')],
  ['/style.css', file('style.css', 'css')],
  ...[
    'page.js',
    'chat.js',
    'chart.js',
    'connection.js',
    'deploy.js',
    'dom.js',
    'lists.js',
    'pool.js',
    'room.js',
    'show.js',
    'stay-connected.js',
    'tabs.js',
  ].map(script),
  ['/vendor/uplot.js', file('dist/uPlot.esm.js', 'javascript', UPLOT)],
  ['/vendor/uplot.css', file('dist/uPlot.min.css', 'css', UPLOT)],
  ['/vendor/uplot-licence.txt', file('LICENSE', 'plain', UPLOT)],
]);

/** Figures as text, such as a registry of prom-client. */
interface Metrics {
  readonly contentType: string;
  metrics(): Promise<string>;
}

export type Respond = (status: number, body: string | Buffer, headers?: OutgoingHttpHeaders) => void;

/** Answers a request, or returns `false` if it is for another handler. */
export type Route = (request: IncomingMessage, respond: Respond) => boolean;

/** The page, `/healthz` (the process is alive), `/readyz` (it accepts clients) and `/metrics` (for Prometheus). */
export function createListener(
  isReady: () => boolean,
  metrics: Metrics,
  routes: readonly Route[] = [],
): RequestListener {
  return (request, response) => {
    const respond = responderOf(response);
    if (routes.some((route) => route(request, respond))) return;
    const path = pathOf(request);
    const file = FILES.get(path);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      respond(405, 'Method not allowed\n', { Allow: 'GET, HEAD' });
    } else if (file) respond(200, file.body, { 'Content-Type': file.type });
    else if (path === '/healthz') respond(200, 'alive\n');
    else if (path === '/metrics') {
      metrics.metrics().then(
        (text) => respond(200, text, { 'Content-Type': metrics.contentType }),
        () => respond(500, 'The figures cannot be read\n'),
      );
    } else if (path !== '/readyz') respond(404, 'Not found\n');
    else if (isReady()) respond(200, 'ready\n');
    else respond(503, 'draining\n');
  };
}

export const pathOf = ({ url = '' }: IncomingMessage): string => url.split('?', 1)[0] ?? '';

function responderOf(response: ServerResponse): Respond {
  return (status, body, headers = {}) => {
    response.writeHead(status, {
      ...SECURITY_HEADERS,
      'Cache-Control': 'no-cache',
      'Content-Length': Buffer.byteLength(body),
      'Content-Type': 'text/plain; charset=utf-8',
      ...headers,
    });
    response.end(body);
  };
}
