import { readdirSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createListener } from '../src/server/http.js';
import { ChatClient, refusalOf, start } from './support/chat-client.js';

const PUBLIC = new URL('../public/', import.meta.url);

/** Sends the path unchanged: `fetch` would normalize it. */
function statusOf(url: string, path: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    request(url, { path, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on('error', reject)
      .end();
  });
}

describe('HTTP', () => {
  test('figures that cannot be read are a 500, and not the end of the process', async () => {
    const metrics = { contentType: 'text/plain', metrics: () => Promise.reject(new Error('Not a number')) };
    const server = createServer(createListener(() => true, metrics)).listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`);
    expect([response.status, await response.text()]).toEqual([500, 'The figures cannot be read\n']);
  });

  test('the page, its style and its script come with their types and a strict policy', async () => {
    const { url } = await start();
    for (const [path, type] of [
      ['/', 'text/html'],
      ['/?from=link', 'text/html'],
      ['/style.css', 'text/css'],
      ['/page.js', 'text/javascript'],
      ['/vendor/uplot.js', 'text/javascript'],
      ['/vendor/uplot.css', 'text/css'],
      ['/vendor/uplot-licence.txt', 'text/plain'],
    ] as const) {
      const response = await fetch(url + path);
      expect(response.status).toBe(200);
      expect(response.headers.get('content-type')).toBe(`${type}; charset=utf-8`);
      expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
      expect(response.headers.get('x-content-type-options')).toBe('nosniff');
      expect(await response.text()).not.toBe('');
    }
  });

  test('the page needs nothing but what is served', async () => {
    const { url } = await start();
    const html = await (await fetch(url)).text();
    const sources = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, source]) => source);
    expect(sources).toEqual(['data:,', 'vendor/uplot.css', 'style.css', 'page.js']);
    const wanted = ['page.js'];
    for (const name of wanted) {
      const response = await fetch(`${url}/${name}`);
      expect([name, response.status]).toEqual([name, 200]);
      const script = await response.text();
      for (const [, imported = ''] of script.matchAll(/^import .* from '\.\/(.+)';$/gm))
        if (!wanted.includes(imported)) wanted.push(imported);
    }
    // Every file that is served is used.
    expect(wanted.toSorted()).toEqual(
      [...readdirSync(PUBLIC).filter((name) => name.endsWith('.js')), 'vendor/uplot.js'].toSorted(),
    );
  });

  test('the process is alive and ready', async () => {
    const { url } = await start();
    expect(await statusOf(url, '/healthz')).toBe(200);
    expect(await statusOf(url, '/readyz')).toBe(200);
  });

  test('the figures of the pool are there for Prometheus', async () => {
    const { url } = await start();
    await ChatClient.join(url, 'ada');
    const response = await fetch(`${url}/metrics`);
    expect(response.headers.get('content-type')).toContain('text/plain; version=0.0.4');
    const text = await response.text();
    expect(text).toContain('# TYPE soketi_connections gauge\nsoketi_connections 1\n');
    for (const gauge of ['namespaces', 'rooms', 'slow_now', 'closing'])
      expect(text).toContain(`# TYPE soketi_${gauge} gauge\n`);
    expect(text).toContain('# TYPE soketi_heartbeats_lost_total counter\nsoketi_heartbeats_lost_total 0\n');
    expect(text).toMatch(/^soketi_messages_sent_total [1-9]/m);
    expect(text).toContain('# TYPE soketi_cluster_round_trip_ms gauge\nsoketi_cluster_round_trip_ms 0\n');
    expect(text).toContain('# TYPE soketi_cluster_batches_total counter\nsoketi_cluster_batches_total 0\n');
    expect(text).toContain('soketi_cluster_nodes 1\n');
    expect(text).toContain('soketi_cluster_state{state="alone"} 1\n');
    expect(text).toContain('soketi_cluster_state{state="up"} 0\n');
  });

  test('the figures are labelled with the node where it has a name', async () => {
    const { url } = await start({ nodeName: 'node 2' });
    const text = await (await fetch(`${url}/metrics`)).text();
    expect(text).toContain('\nsoketi_connections{node="node 2"} 0\n');
    expect(text).toContain('soketi_cluster_state{state="alone",node="node 2"} 1\n');
  });

  test.each([
    '/nothing',
    '/index.html',
    '/server.js',
    '/vendor/package.json',
    '/show/state',
    '/..',
    '/../package.json',
    '/%2e%2e/package.json',
    '/..%2fpackage.json',
    '//etc/passwd',
    '/page.js/../../package.json',
    '/page.js%00',
    '/ws',
  ])('%s is not found', async (path) => {
    const { url } = await start();
    expect(await statusOf(url, path)).toBe(404);
  });

  test('HEAD has no body, and other methods are refused', async () => {
    const { url } = await start();
    const head = await fetch(url, { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
    const post = await fetch(url, { method: 'POST', body: 'x' });
    expect([post.status, post.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });
});

describe('upgrades', () => {
  test('an upgrade for another path than /ws gets 404', async () => {
    const { url } = await start();
    expect((await refusalOf(url.replace('http', 'ws'))).status).toBe(404);
  });

  test.each(['https://evil.example', 'null', 'http://127.0.0.1', 'http://127.0.0.1:1'])(
    'a client from the foreign origin %s is closed with 4403',
    async (origin) => {
      const { url, chat } = await start();
      const stranger = await ChatClient.connect(url, undefined, { origin });
      expect(await stranger.closed).toEqual({ code: 4403, reason: 'Forbidden' });
      expect(chat.stats()).toMatchObject({ connections: 0, refused: 0 });
    },
  );

  test('clients from the own origin, from an allowed one and without one are accepted', async () => {
    const { url, chat } = await start({ allowedOrigins: ['https://app.example'] });
    for (const origin of [url, 'https://app.example', undefined])
      expect(await (await ChatClient.connect(url, undefined, { origin })).next()).toMatchObject({
        type: 'welcome',
      });
    expect(chat.stats().connections).toBe(3);
    const stranger = await ChatClient.connect(url, undefined, { origin: 'https://app.example.evil' });
    expect((await stranger.closed).code).toBe(4403);
  });
});
