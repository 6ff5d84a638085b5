import { expect, test } from 'vitest';
import { ConnectionsPool } from '../../src/index.js';
import { hostileStrings, wellFormed } from '../support/hostile-strings.js';
import { Loopback } from '../support/loopback.js';

test.each(hostileStrings)('%s is an ordinary message', async (_title, text) => {
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const { client, connection } = await loopback.connect('1');
  await pool.newConnection(connection);
  // What UTF-8 cannot express becomes U+FFFD (WHATWG Encoding §4.2), as in any WebSocket.
  const arriving = wellFormed(text);
  const sent = [
    pool.broadcastMessage('default', text),
    connection.send(text),
    connection.sendJson(text),
    pool.broadcastJsonMessage('default', { [text]: text }),
  ];
  await Promise.all(sent);
  const [broadcast, single, json, object] = await client.exactly(4);
  expect(broadcast === arriving && single === arriving).toBe(true);
  expect(JSON.parse(json as string) === text).toBe(true);
  expect(Object.entries(JSON.parse(object as string) as object)).toEqual(
    text === '__proto__' ? [['__proto__', text]] : Object.entries({ [text]: text }),
  );
  expect(({} as Record<string, unknown>)[text] === text).toBe(false);
});
