import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type * as ws from 'ws';
import { Connection, ConnectionsPool } from '../src/index.js';
import { BroadcastModel } from './support/broadcast-model.js';
import { spyWrites } from './support/engine.js';
import { Loopback } from './support/loopback.js';

const require = createRequire(import.meta.url);

/** Packages that are `ws` under another name, and `ws` itself. */
const PACKAGES = ['ws-8.0', 'ws-8.5', 'ws-8.11', 'ws-8.14', 'ws-8.17', 'ws-8.18', 'ws-8.21', 'ws'];
/** The first version that accepts Blobs. */
const BLOBS_SINCE_MINOR = 18;

const modes: Record<string, { options: ws.ServerOptions; isDirect: boolean }> = {
  'without compression': { options: {}, isDirect: true },
  'with shared compression': {
    options: { perMessageDeflate: { serverNoContextTakeover: true, threshold: 100 } },
    isDirect: true,
  },
  'with context takeover': { options: { perMessageDeflate: { threshold: 100 } }, isDirect: false },
};

/** A server of that version; the clients are of the current one. */
async function start(name: string, options: ws.ServerOptions): Promise<Loopback> {
  // The name that all versions have.
  const { Server } = require(name) as { Server: typeof ws.WebSocketServer };
  const server = new Server({ host: '127.0.0.1', port: 0, ...options });
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  return new Loopback(server);
}

describe.each(PACKAGES)('%s', (name) => {
  // In some versions "exports" hides the file.
  const manifest = path.join(path.dirname(require.resolve(name)), 'package.json');
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
  const minor = Number(version.split('.')[1]);

  test(`${name} is the version that its name says`, () => {
    expect(version).toMatch(name === 'ws' ? /^8\./ : new RegExp(`^${name.slice('ws-'.length)}\\.`));
  });

  describe.each(Object.entries(modes))('%s', (mode, { options, isDirect }) => {
    test(`a socket of ${name} ${mode} ${isDirect ? 'is written to directly' : 'compresses by itself'}`, async () => {
      const { client, socket } = await (await start(name, options)).pair();
      const pool = new ConnectionsPool();
      await pool.newConnection(new Connection('1', 'default', socket));
      const [send, writes] = [vi.spyOn(socket, 'send'), spyWrites(socket)];
      const texts = ['1', '2'.repeat(1_000), '3'];
      for (const text of texts) void pool.broadcastMessage('default', text);
      await nextTurn();
      await nextTurn();
      expect(send).toHaveBeenCalledTimes(isDirect ? 0 : 3);
      if (isDirect) expect(writes).toHaveLength(1);
      expect(await client.exactly(3)).toEqual(texts);
    });

    test(`every client of ${name} ${mode} receives exactly its messages, whatever the owner sends on the socket`, async () => {
      const loopback = await start(name, options);
      const hasBlobs = minor >= BLOBS_SINCE_MINOR;
      await new BroadcastModel({ seed: 1, loopback, isRaw: true, hasBlobs, operations: 60, huge: 0 }).run();
    });
  });
});
