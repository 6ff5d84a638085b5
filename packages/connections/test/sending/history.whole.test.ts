import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import type * as ws from 'ws';
import { HistoryModel, modelOptions } from '../support/history-model.js';
import { expectMessages, last, Room, TAKEOVER } from '../support/history-room.js';
import { record, records } from '../support/records.js';
import { Loopback } from '../support/loopback.js';
import { onTestFinished } from '../support/on-test-finished.js';

const require = createRequire(import.meta.url);
/** Packages that are `ws` under another name. */
const PACKAGES = ['ws-8.0', 'ws-8.5', 'ws-8.11', 'ws-8.14', 'ws-8.17', 'ws-8.18', 'ws-8.21'];
/** The first version that accepts Blobs. */
const BLOBS_SINCE_MINOR = 18;

describe.each(PACKAGES)('%s', (name) => {
  const manifest = path.join(path.dirname(require.resolve(name)), 'package.json');
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };

  async function start(): Promise<Loopback> {
    // The name that all versions have.
    const { Server } = require(name) as { Server: typeof ws.WebSocketServer };
    const server = new Server({ host: '127.0.0.1', port: 0, ...TAKEOVER });
    await once(server, 'listening');
    onTestFinished(() => {
      for (const socket of server.clients) socket.terminate();
      server.close();
    });
    return new Loopback(server);
  }

  test(`${name} shares the history, and lets the owner of a socket send on it`, async () => {
    const room = new Room(await start());
    const [a, b] = [await room.member('a'), await room.member('b')];
    for (const text of records(10)) await room.broadcast(text);
    await new Promise((resolve) => b.socket.send(record(10), resolve));
    for (const text of records(10, 11)) await room.broadcast(text);
    await expectMessages(a, records(21).toSpliced(10, 1));
    await expectMessages(b, records(21));
    expect(room.pool.stats().compressedMessages).toBe(20);
    expect((await last(a)).reachBytes).toBeGreaterThan(0);
  });

  test.each([1, 2])(`${name} gives every client exactly its messages (seed %i)`, async (seed) => {
    const hasBlobs = Number(version.split('.')[1]) >= BLOBS_SINCE_MINOR;
    const loopback = await start();
    await new HistoryModel({ ...modelOptions(seed), loopback, hasBlobs, steps: 100 }).run();
  });
});
