// Starts the built demo as `npm start` does, talks to it like a client, and ends it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';

const PROGRAM = fileURLToPath(new URL('../dist/show/start.js', import.meta.url));
const TIMEOUT_MS = 60_000;

const child = spawn(process.execPath, [PROGRAM], {
  env: { ...process.env, PORT: '0' },
  stdio: ['ignore', 'pipe', 'inherit'],
});
process.on('exit', () => child.kill('SIGKILL'));
setTimeout(() => fail(new Error(`Not done after ${TIMEOUT_MS} ms`)), TIMEOUT_MS).unref();

try {
  const ended = once(child, 'close');
  const url = await listeningUrl();
  for (const path of ['/', '/vendor/uplot.js', '/healthz', '/readyz', '/show/state']) {
    assert.equal((await fetch(url + path)).status, 200, path);
  }
  await talk(`${url.replace('http', 'ws')}/ws?namespace=smoke&name=Smoke`);
  assert.deepEqual(await ended, [0, null], 'status of the server');
  console.log(`Smoke test passed: ${url} served its page, a WebSocket and its drain`);
} catch (error) {
  fail(error);
}

async function listeningUrl() {
  for await (const line of createInterface(child.stdout)) {
    const url = /^Listening on (\S+)$/.exec(line)?.[1];
    if (url) return url;
  }
  throw new Error('The server ended before it listened');
}

/** Joins, says something, receives it, and is closed by the drain. */
async function talk(url) {
  const socket = new WebSocket(url);
  const closed = once(socket, 'close');
  const heard = new Promise((resolve) => {
    socket.on('message', (data) => {
      const message = JSON.parse(data.toString());
      if (message.type === 'welcome') {
        for (const order of [{ type: 'join' }, { type: 'say', text: 'hello' }])
          socket.send(JSON.stringify({ room: 'smoke', ...order }));
      }
      if (message.type === 'said') resolve(message);
    });
  });
  await once(socket, 'open');
  const failure = closed.then(([code]) => Promise.reject(new Error(`Closed early with ${code}`)));
  failure.catch(() => undefined);
  const { text, from } = await Promise.race([heard, failure]);
  assert.deepEqual([text, from], ['hello', 'Smoke']);
  child.kill('SIGTERM');
  assert.equal((await closed)[0], 1012, 'close code');
}

function fail(error) {
  console.error(`Smoke test failed: ${error.message.split('\n', 1)[0]}`);
  process.exit(1);
}
