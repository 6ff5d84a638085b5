/*
 * Takes docs/deploy.png: the page of the built demo with 1,200 bots, after a restart at the rate and one all at once.
 * Run on a quiet machine: where processors are busy, the bots cannot come back all at once.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const PROGRAM = fileURLToPath(new URL('../dist/show/start.js', import.meta.url));
const PICTURE = fileURLToPath(new URL('../docs/deploy.png', import.meta.url));
const { CHROMIUM = '/usr/bin/chromium' } = process.env;
const BOTS = 1_200;
const RATE = 100;
const WIDTH_PX = 1_120;
const TIMEOUT_MS = 60_000;
/** Between what is to be told apart in the chart. */
const PAUSE_MS = 6_000;

const demo = spawn(process.execPath, [PROGRAM], {
  env: { ...process.env, PORT: '0', NODES: '3', DRAIN_PER_SECOND: `${RATE}` },
  stdio: ['ignore', 'pipe', 'inherit'],
});
const url = await listeningUrl();
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-gpu'] });
try {
  const page = await openDeploy();
  await page.fill('#bots', `${BOTS}`);
  await page.getByRole('button', { name: 'Set' }).click();
  await settled(page);
  const own = /node \d/.exec(await page.textContent('#status'))[0];
  await restart(page, own);
  await page.check('#all-at-once');
  await restart(page, await fullestNode());
  await page.uncheck('#all-at-once');
  await takePicture(page);
} finally {
  await browser.close();
  demo.kill('SIGTERM');
  await once(demo, 'exit');
}

async function listeningUrl() {
  for await (const line of createInterface(demo.stdout)) {
    const found = /^Listening on (\S+)$/.exec(line)?.[1];
    if (found) return found;
  }
  throw new Error('The demo ended before it listened');
}

async function openDeploy() {
  const page = await browser.newPage({
    viewport: { width: WIDTH_PX, height: 1_100 },
    colorScheme: 'light',
  });
  page.setDefaultTimeout(TIMEOUT_MS);
  await page.addInitScript("sessionStorage.setItem('name', 'Ada')");
  await page.goto(`${url}/#deploy`);
  await page.locator('.here:visible').waitFor();
  return page;
}

/** All bots are connected, all nodes take clients, and the chart has been quiet for a while. */
async function settled(page) {
  const count = BOTS.toLocaleString('en');
  await page.locator('#bots-state', { hasText: `${count} of ${count} bots are connected` }).waitFor();
  await page.locator('#restart-all:enabled').waitFor();
  await delay(PAUSE_MS);
}

async function restart(page, node) {
  await page.getByRole('button', { name: `Restart ${node}` }).click();
  const name = node.replace('n', 'N');
  await page.locator('#deploy .happenings', { hasText: `${name} is there again` }).waitFor();
  await settled(page);
}

async function fullestNode() {
  const { state } = await (await fetch(`${url}/show/state`)).json();
  const [fullest] = state.nodes.toSorted((a, b) => b.report.pool.connections - a.report.pool.connections);
  return fullest.name;
}

/** From the top of the page to the end of the chart. */
async function takePicture(page) {
  const peaks = await page.textContent('#peaks');
  const [, closed, connected] = /: ([\d,]+) closed, ([\d,]+) connected/
    .exec(peaks)
    .map((text) => Number(text.replaceAll(',', '')));
  if (Math.min(closed, connected) < 2 * RATE) throw new Error(`No storm is in the chart. ${peaks}`);
  const box = await page.locator('section', { has: page.locator('#chart') }).boundingBox();
  const clip = { x: 0, y: 0, width: WIDTH_PX, height: Math.ceil(box.y + box.height) + 16 };
  await page.screenshot({ path: PICTURE, clip, fullPage: true });
  console.log(`${PICTURE}\n${peaks}`);
}
