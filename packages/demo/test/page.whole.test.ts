import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { freePort } from '../../connections/test/support/free-port.js';
import { describeWith, findProgram, hasSignals } from '../../connections/test/support/requires.js';
import { Demo, TIMEOUT_MS } from './support/demo.js';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const BOTS = 200;
const STEP_TIMEOUT_MS = 20_000;
/** The messages of Chromium itself about a server that is away. */
const NETWORK = /net::ERR_|WebSocket connection to/;

describeWith(['chromium'], 'the page in Chromium', () => {
  let browser: Browser;
  let demo: Demo;
  let context: BrowserContext;
  let port: number;
  /** Errors and warnings of the console, which include a violation of the policy. */
  let complaints: string[] = [];

  const startDemo = (): Promise<Demo> => Demo.start({ PORT: `${port}`, DRAIN_PER_SECOND: '50' });

  beforeAll(async () => {
    port = await freePort();
    [browser, demo] = await Promise.all([
      chromium.launch({
        executablePath: findProgram('chromium')!,
        args: ['--no-sandbox', '--disable-gpu'],
      }),
      startDemo(),
    ]);
  }, TIMEOUT_MS);
  afterAll(() => Promise.all([browser.close(), demo.kill()]));

  beforeEach(async () => {
    complaints = [];
    context = await browser.newContext();
    context.setDefaultTimeout(STEP_TIMEOUT_MS);
  });
  afterEach(async () => {
    await context.close();
    expect(complaints).toEqual([]);
  });

  /** A tab of a user, once it is connected. */
  async function open(name: string, view = 'chat'): Promise<Page> {
    const page = await context.newPage();
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.addInitScript(`sessionStorage.setItem('name', ${JSON.stringify(name)})`);
    await page.goto(`${demo.url}/#${view}`);
    await connected(page);
    return page;
  }

  const connected = (page: Page) => page.locator('#status[data-state=online]').waitFor();
  const nodeOf = async (page: Page) => /node \d/.exec((await page.textContent('#status'))!)![0];
  const shows = (page: Page, selector: string, text: string | RegExp) =>
    page.locator(selector, { hasText: text }).first().waitFor();
  const isEmpty = (page: Page, selector: string) =>
    page.locator(selector, { hasText: /^$/ }).waitFor({ state: 'attached' });
  const isMissing = (page: Page, selector: string, text: string) =>
    page.locator(selector, { hasNotText: text }).waitFor();
  const isReady = () =>
    demo.until(
      ({ nodes, isRestarting }) =>
        !isRestarting && nodes.every(({ state, report }) => state === 'ready' && report),
    );

  async function say(page: Page, text: string): Promise<void> {
    await page.fill('#text', text);
    await page.press('#text', 'Enter');
  }

  /** A tab on a node other than that one. */
  async function openElsewhere(name: string, node: string): Promise<Page> {
    for (;;) {
      const page = await open(name);
      if ((await nodeOf(page)) !== node) return page;
      await page.close();
    }
  }

  test(
    'two users in two tabs on two nodes see each other, type, talk in rooms and in private',
    { timeout: TIMEOUT_MS },
    async () => {
      const ada = await open('Ada');
      const bob = await openElsewhere('Bob', await nodeOf(ada));
      await shows(ada, '#members', 'Bob');
      await bob.locator('#text').pressSequentially('hel');
      await shows(ada, '#typing', 'Bob is typing…');
      await say(bob, 'hello');
      await shows(ada, '#log', 'Bob: hello');
      await shows(bob, '#log', 'You: hello');
      await ada.getByRole('button', { name: 'Write to Bob only' }).click();
      await say(ada, 'psst');
      await shows(bob, '#log .private', 'Ada to you only: psst');
      await bob.getByRole('button', { name: '# random' }).click();
      await say(bob, 'elsewhere');
      await shows(ada, '#rooms', /random.*new/);
      expect(await ada.textContent('#log')).not.toContain('elsewhere');
    },
  );

  test(
    'a user with two tabs is one member, and a kick closes both with the reason',
    { timeout: TIMEOUT_MS },
    async () => {
      const bobs = [await open('Bob'), await open('Bob')] as const;
      const ada = await open('Ada');
      await shows(ada, '#members', /Bob\s*2 tabs/);
      await ada.getByRole('button', { name: 'Kick Bob' }).click();
      for (const bob of bobs) {
        await shows(bob, '#status', 'The server has closed the connection: Kicked by Ada (1008).');
        expect(await bob.getAttribute('#status', 'data-state')).toBe('offline');
      }
      await bobs[0].getByRole('button', { name: 'Connect' }).click();
      await connected(bobs[0]);
      await shows(bobs[0], '#members', 'Ada');
    },
  );

  test(
    'a name that the server refuses is asked for again, with the reason',
    { timeout: TIMEOUT_MS },
    async () => {
      const page = await open('Ada');
      await page.fill('#name', 'A\u202eda');
      await page.getByRole('button', { name: 'Connect' }).click();
      await shows(page, '#status', 'name: Expected visible characters only (1008)');
      await page.fill('#name', 'Ada');
      await page.getByRole('button', { name: 'Connect' }).click();
      await connected(page);
    },
  );

  test('a page that takes another name says nothing of a lost node', { timeout: TIMEOUT_MS }, async () => {
    const page = await open('Ada');
    for (const name of ['Bea', 'Cleo']) {
      await page.fill('#name', name);
      await page.getByRole('button', { name: 'Connect' }).click();
      await shows(page, '#status', `${name}, you are on node`);
      await shows(page, '#members', name);
      expect([name, await page.textContent('#news'), await page.textContent('#log')]).toEqual([name, '', '']);
    }
  });

  test(
    'in another namespace nobody of the first one types, leaves, is a member or is written to',
    { timeout: TIMEOUT_MS },
    async () => {
      const [ada, bob] = [await open('Ada'), await open('Bob')];
      await ada.clock.install();
      await ada.getByRole('button', { name: 'Write to Bob only' }).click();
      await bob.fill('#text', 'hel');
      await shows(ada, '#typing', 'Bob is typing…');
      await bob.close();
      await isMissing(ada, '#members', 'Bob');
      await ada.fill('#namespace', 'elsewhere');
      await ada.getByRole('button', { name: 'Connect' }).click();
      await connected(ada);
      expect(await ada.textContent('#typing')).toBe('');
      await shows(ada, '#members', 'Ada');
      await ada.clock.fastForward(10_000);
      expect(await ada.textContent('#log')).toBe('');
      expect(await ada.inputValue('#to')).toBe('');
    },
  );

  test(
    'who types again after a message is shown for as long as before',
    { timeout: TIMEOUT_MS },
    async () => {
      const [ada, bob] = [await open('Ada'), await open('Bob')];
      await shows(ada, '#members', 'Bob');
      await ada.clock.install();
      await ada.clock.pauseAt(Date.now() + 60_000);
      await bob.fill('#text', 'one');
      await shows(ada, '#typing', 'Bob is typing…');
      await ada.clock.fastForward(2_500);
      await bob.press('#text', 'Enter');
      await isEmpty(ada, '#typing');
      await bob.fill('#text', 'two');
      await shows(ada, '#typing', 'Bob is typing…');
      await ada.clock.fastForward(2_000);
      expect(await ada.textContent('#typing')).toBe('Bob is typing…');
      await ada.clock.fastForward(2_000);
      await isEmpty(ada, '#typing');
    },
  );

  test(
    'the keyboard stays on the button of the same user when another one comes or that one goes',
    { timeout: TIMEOUT_MS },
    async () => {
      const [ada, bob] = [await open('Ada'), await open('Bob')];
      const focused = () => ada.evaluate('document.activeElement.ariaLabel || document.activeElement.id');
      await ada.getByRole('button', { name: 'Kick Bob' }).focus();
      await open('Abel');
      await shows(ada, '#members', 'Abel');
      expect(await focused()).toBe('Kick Bob');
      await bob.close();
      await isMissing(ada, '#members', 'Bob');
      expect(await focused()).toBe('members');
    },
  );

  test(
    'a room that is spelt in another way is the same room, and a page that has left knows nobody there',
    { timeout: TIMEOUT_MS },
    async () => {
      const page = await open('Ada');
      await page.fill('#room', 'Cafe\u0301');
      await page.press('#room', 'Enter');
      await shows(page, '#room-title', 'Caf\u00e9');
      await shows(page, '#members', 'Ada');
      await page.getByRole('button', { name: 'Leave', exact: true }).click();
      await shows(page, '#log', 'You have left.');
      expect(await page.textContent('#count')).toBe('0');
    },
  );

  test(
    'markup, names of the prototype and characters of any kind are text, as a name, a room and a message',
    { timeout: TIMEOUT_MS },
    async () => {
      const [ada, eve] = [await open('Ada'), await open('Eve')];
      for (const hostile of ['<img src=x onerror=alert(1)>', '__proto__', '👩‍👩‍👧 "\'&amp;']) {
        await eve.fill('#name', hostile);
        await eve.getByRole('button', { name: 'Connect' }).click();
        for (const page of [ada, eve]) {
          await page.fill('#room', hostile);
          await page.press('#room', 'Enter');
          await shows(page, '#room-title', hostile);
        }
        await shows(ada, '#members .name', hostile);
        await say(eve, hostile);
        await shows(ada, '#log', `${hostile}: ${hostile}`);
      }
      await say(eve, 'x'.repeat(2_000));
      await shows(ada, '#log', 'xxx');
      expect(await ada.locator('main img').count()).toBe(0);
      expect(await ada.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
    },
  );

  test.skipIf(!hasSignals)(
    'a node restarts under 200 bots, everybody is back, and the page says what happened',
    { timeout: TIMEOUT_MS },
    async () => {
      await isReady();
      const page = await open('Ada', 'deploy');
      await page.fill('#bots', `${BOTS}`);
      await page.getByRole('button', { name: 'Set' }).click();
      await shows(page, '#bots-state', `${BOTS} of ${BOTS} bots are connected.`);
      const node = await nodeOf(page);
      await page.locator('.here:visible').waitFor();
      await page.getByRole('button', { name: `Restart ${node}` }).click();
      await shows(page, '.node .badge', 'draining');
      await shows(
        page,
        '#news',
        new RegExp(`^N${node.slice(1)} restarts; you are on node \\d now. You were away for [\\d.]+ s.$`),
      );
      expect(await nodeOf(page)).not.toBe(node);
      await shows(page, '.happenings', `N${node.slice(1)} is there again, and takes clients.`);
      await shows(page, '#bots-state', `${BOTS} of ${BOTS} bots are connected.`);
      expect(await page.locator('.node .badge').allTextContents()).toEqual(
        new Array(3).fill('takes clients'),
      );
      expect(await page.locator('#chart canvas').count()).toBe(1);
      expect(await page.textContent('#peaks')).toMatch(
        /: [1-9]\d* closed, [1-9]\d* connected. The rate is 50 per second./,
      );
      // Everybody who was closed is connected again: the bots and this page.
      const { nodes } = await demo.until(
        ({ nodes }) =>
          nodes.reduce((sum, { report }) => sum + (report?.pool.connections ?? 0), 0) === BOTS + 1,
      );
      expect(nodes).toHaveLength(3);
    },
  );

  test('a slow reader is shown', { timeout: TIMEOUT_MS }, async () => {
    await isReady();
    const page = await open('Ada', 'pool');
    const figure = (name: string) =>
      page
        .locator('#figures div', { has: page.locator('dt', { hasText: name }) })
        .locator('dd')
        .first();
    await expect.poll(() => figure('Slow readers now').textContent(), { timeout: TIMEOUT_MS }).toBe('0');
    await page.getByRole('button', { name: 'Make a slow reader' }).click();
    await expect.poll(() => figure('Slow readers now').textContent(), { timeout: TIMEOUT_MS }).toBe('1');
    await shows(page, '#pool .happenings', /Slow reader \d+ does not read/);
    await page.selectOption('#pool-node', { label: 'Node 1' });
    await expect.poll(() => figure('State').textContent()).toBe('up');
  });

  test('the arrow keys choose a view, and the address remembers it', { timeout: TIMEOUT_MS }, async () => {
    const page = await open('Ada');
    await page.focus('#tab-chat');
    const views: (string | null)[] = [];
    for (const key of ['ArrowRight', 'ArrowRight', 'ArrowRight', 'ArrowLeft', 'Home', 'End']) {
      await page.keyboard.press(key);
      await page.locator('[aria-selected=true]:focus').waitFor();
      views.push(await page.getAttribute('[role=tabpanel]:not([hidden])', 'id'));
    }
    expect(views).toEqual(['deploy', 'pool', 'chat', 'pool', 'chat', 'pool']);
    await page.reload();
    expect(await page.isVisible('#pool')).toBe(true);
  });

  test.each(['light', 'dark'] as const)(
    'axe-core finds nothing, and nothing is wider than the page: %s',
    { timeout: TIMEOUT_MS },
    async (colorScheme) => {
      await isReady();
      const page = await open('Ada');
      await say(page, 'hello');
      await page.emulateMedia({ colorScheme });
      for (const view of ['chat', 'deploy', 'pool']) {
        await page.locator(`#tab-${view}`).click();
        if (view === 'deploy') await page.locator('.here:visible').waitFor();
        for (const width of [360, 400, 800, 1400, 1600]) {
          await page.setViewportSize({ width, height: 900 });
          expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width);
        }
        await page.evaluate(AXE);
        const found = await page.evaluate(`axe.run().then(({ violations }) =>
          violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)]))`);
        expect([view, found]).toEqual([view, []]);
      }
    },
  );

  test('a page without network says so, and goes on when it is back', { timeout: TIMEOUT_MS }, async () => {
    const page = await open('Ada');
    await context.setOffline(true);
    await shows(page, '#lost', 'The server does not answer.');
    await context.setOffline(false);
    await isEmpty(page, '#lost');
    await connected(page);
    complaints = complaints.filter((text) => !NETWORK.test(text));
  });

  test.skipIf(!hasSignals)(
    'the page survives a server that goes away, and is connected to the next one',
    { timeout: TIMEOUT_MS },
    async () => {
      const page = await open('Ada', 'deploy');
      await demo.kill();
      await shows(page, '#lost', 'The server does not answer.');
      await shows(page, '#status', 'Disconnected');
      demo = await startDemo();
      await connected(page);
      await shows(page, '#news', /Node \d went away without a word \(1006\); you are on node \d/);
      await isEmpty(page, '#lost');
      await page.locator('#tab-chat').click();
      await say(page, 'still here');
      await shows(page, '#log', 'You: still here');
      complaints = complaints.filter((text) => !NETWORK.test(text));
    },
  );
});
