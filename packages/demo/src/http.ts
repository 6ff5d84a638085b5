import { readFileSync } from 'node:fs';
import type { OutgoingHttpHeaders, RequestListener } from 'node:http';

const SECURITY_HEADERS = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
};

const publicFile = (name: string, type: string) => ({
  type: `${type}; charset=utf-8`,
  body: readFileSync(new URL(`../public/${name}`, import.meta.url)),
});

/** Everything that is served, by path: no path of a request ever meets the file system. */
const FILES = new Map([
  ['/', publicFile('index.html', 'text/html')],
  ['/style.css', publicFile('style.css', 'text/css')],
  ['/page.js', publicFile('page.js', 'text/javascript')],
]);

/** Figures as text, such as a registry of prom-client. */
interface Metrics {
  readonly contentType: string;
  metrics(): Promise<string>;
}

/** The page, `/healthz` (the process lives), `/readyz` (it takes clients) and `/metrics` (for Prometheus). */
export function createListener(isReady: () => boolean, metrics: Metrics): RequestListener {
  return (request, response) => {
    const respond = (status: number, body: string | Buffer, headers: OutgoingHttpHeaders = {}): void => {
      response.writeHead(status, {
        ...SECURITY_HEADERS,
        'Cache-Control': 'no-cache',
        'Content-Length': Buffer.byteLength(body),
        'Content-Type': 'text/plain; charset=utf-8',
        ...headers,
      });
      response.end(body);
    };
    const path = request.url?.split('?', 1)[0] ?? '';
    const file = FILES.get(path);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      respond(405, 'Method not allowed\n', { Allow: 'GET, HEAD' });
    } else if (file) respond(200, file.body, { 'Content-Type': file.type });
    else if (path === '/healthz') respond(200, 'alive\n');
    else if (path === '/metrics') {
      void metrics.metrics().then((text) => respond(200, text, { 'Content-Type': metrics.contentType }));
    } else if (path !== '/readyz') respond(404, 'Not found\n');
    else if (isReady()) respond(200, 'ready\n');
    else respond(503, 'draining\n');
  };
}
