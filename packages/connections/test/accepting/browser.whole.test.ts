import { createServer } from 'node:http';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { anybody, listen, startAccepting, type AcceptingOptions } from '../support/accepting.js';
import { onTestFinished } from '../support/on-test-finished.js';
import { describeWith, findProgram } from '../support/requires.js';

const TIMEOUT_MS = 60_000;

describeWith(['chromium'], 'a page in Chromium', () => {
  let browser: Browser;

  beforeAll(async () => {
    const executablePath = findProgram('chromium')!;
    browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
  }, TIMEOUT_MS);
  afterAll(() => browser.close());

  /** A page that the server on that port has served. */
  async function openPage(port: number): Promise<Page> {
    const page = await browser.newPage();
    onTestFinished(() => page.close());
    await page.goto(`http://127.0.0.1:${port}/`);
    return page;
  }

  /** How the page sees its WebSocket close: code, reason, and whether it had been open. */
  const closeSeenBy = (page: Page, url: string): Promise<unknown> =>
    page.evaluate(`new Promise((resolve) => {
      const socket = new WebSocket('${url}', ['chat', 'other']);
      let hasOpened = false;
      socket.onopen = () => { hasOpened = true; socket.send('hello'); };
      socket.onclose = ({ code, reason }) => resolve({ code, reason, hasOpened });
    })`);

  /** A server that also serves an empty page. */
  async function startWithPage(accept: NonNullable<AcceptingOptions['accept']>) {
    const accepting = await startAccepting({ accept });
    accepting.server.on('request', (_request, response) => {
      response.setHeader('Content-Type', 'text/html').end('<!doctype html>');
    });
    return accepting;
  }

  test.each([
    ['nobody', { authenticate: () => undefined }, 4401, 'Unauthorized'],
    ['somebody who may not', { authenticate: () => ({ status: 403 }) }, 4403, 'Forbidden'],
    ['too many', { authenticate: () => ({ status: 429 }) }, 4429, 'Too Many Requests'],
    ['a full server', { authenticate: () => ({ status: 503 }) }, 1013, 'Service Unavailable'],
  ])("a browser reads why it is refused for %s with refuseWith: 'close'", async (_, accept, code, reason) => {
    const { port, url } = await startWithPage({ ...accept, refuseWith: 'close' });
    const page = await openPage(port);
    expect(await closeSeenBy(page, url)).toEqual({ code, reason, hasOpened: true });
  });

  test("a browser only reads 1006 with refuseWith: 'http'", async () => {
    const { port, url } = await startWithPage({ authenticate: () => undefined });
    const page = await openPage(port);
    expect(await closeSeenBy(page, url)).toEqual({ code: 1006, reason: '', hasOpened: false });
  });

  test('a page is let in from the host of the server, but not from another port', async () => {
    const { port, url } = await startWithPage({
      authenticate: () => ({ ...anybody(), expiresAt: Date.now() + 300 }),
      refuseWith: 'close',
    });
    const own = await openPage(port);
    expect(await closeSeenBy(own, url)).toEqual({ code: 4401, reason: 'Session expired', hasOpened: true });
    const foreign = await openPage(
      await listen(createServer((_request, response) => response.end('foreign'))),
    );
    expect(await closeSeenBy(foreign, url)).toEqual({ code: 4403, reason: 'Forbidden', hasOpened: true });
  });
});
