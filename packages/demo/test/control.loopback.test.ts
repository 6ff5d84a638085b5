import { request } from 'node:http';
import { describe, expect, test } from 'vitest';
import { createRoutes } from '../src/show/control.js';
import type { Command } from '../src/show/state.js';
import { start } from './support/chat-client.js';

/** A server whose buttons do nothing except record their commands. */
async function startWithButtons(host = '127.0.0.1') {
  const obeyed: Command[] = [];
  const obey = (command: Command) => {
    obeyed.push(command);
    return Promise.resolve({ ok: true } as const);
  };
  const routes = createRoutes({ state: () => undefined, obey }, host);
  return { ...(await start({ routes })), obeyed };
}

/** Sends headers that `fetch` does not allow. */
function post(url: string, headers: Record<string, string>, body = '{"do":"slow reader"}') {
  return new Promise<{ status: number | undefined; body: string }>((resolve, reject) => {
    request(`${url}/show/control`, { method: 'POST', headers, agent: false }, (response) => {
      let text = '';
      response.on('data', (data) => (text += String(data)));
      response.on('end', () => resolve({ status: response.statusCode, body: text }));
    })
      .on('error', reject)
      .end(body);
  });
}

const portOf = (url: string): string => new URL(url).port;

describe('the buttons', () => {
  test.each(['127.0.0.1', 'localhost', '[::1]', '127.1.2.3'])(
    'the buttons work for the page of %s',
    async (name) => {
      const { url, obeyed } = await startWithButtons();
      const host = `${name}:${portOf(url)}`;
      expect((await post(url, { host, origin: `http://${host}` })).status).toBe(200);
      expect(obeyed).toEqual([{ do: 'slow reader' }]);
    },
  );

  test.each([
    ['a foreign origin', { origin: 'https://evil.example' }],
    ['the origin of another port', { origin: 'http://127.0.0.1:1' }],
    ['no origin', {}],
    ['the origin null', { origin: 'null' }],
    ['a foreign name that resolves to loopback', { host: 'evil.example', origin: 'http://evil.example' }],
    [
      'a name that begins as loopback does',
      { host: '127.0.0.1.evil.example', origin: 'http://127.0.0.1.evil.example' },
    ],
    ['a host that is none', { host: 'a b', origin: 'http://a b' }],
  ])('the buttons do nothing for %s', async (_, headers) => {
    const { url, obeyed } = await startWithButtons();
    const { status, body } = await post(url, headers);
    expect([status, obeyed]).toEqual([403, []]);
    expect(body).toMatch(/"problem":"The buttons work only .+"/);
  });

  test.each(['0.0.0.0', '::', '192.0.2.1'])(
    'the buttons do nothing while the server listens on %s, and the page says so',
    async (host) => {
      const { url, obeyed } = await startWithButtons(host);
      expect((await post(url, { origin: url })).status).toBe(403);
      expect(obeyed).toEqual([]);
      expect(await (await fetch(`${url}/show/state`)).json()).toEqual({
        controls: 'The buttons work only while the server listens on loopback (HOST=127.0.0.1).',
      });
    },
  );

  test.each([
    ['{', 400],
    ['', 400],
    ['null', 400],
    ['{"do":"bots","count":1e999}', 400],
    ['{"do":"bots","count":0.5}', 400],
    ['{"do":"slow reader","more":1}', 400],
    ['{"do":"__proto__"}', 400],
    [`{"do":"${'x'.repeat(2_000)}"}`, 413],
  ])('the buttons refuse %s', async (body, status) => {
    const { url, obeyed } = await startWithButtons();
    expect((await post(url, { origin: url }, body)).status).toBe(status);
    expect(obeyed).toEqual([]);
  });

  test('the buttons work by POST alone', async () => {
    const { url } = await startWithButtons();
    expect((await fetch(`${url}/show/control`)).status).toBe(404);
    expect((await fetch(`${url}/show/state`, { method: 'POST' })).status).toBe(405);
  });
});
