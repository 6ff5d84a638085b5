import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import type * as ws from 'ws';
import { expectMessages, Room } from '../support/history-room.js';
import { record, records } from '../support/records.js';
interface Begun {
  readonly begin: (socket: ws.WebSocket, text: string) => void;
  /** By then `ws` has written everything that it was given. */
  readonly isWritten?: boolean;
  readonly end?: (socket: ws.WebSocket, text: string) => void;
}

const begun: Record<string, Begun> = {
  'that is being compressed': { begin: (socket, text) => socket.send(text) },
  'that waits in the queue': {
    begin: (socket, text) => {
      socket.send('first '.repeat(10_000));
      socket.send(text);
    },
  },
  'that is half given': {
    begin: (socket, text) => socket.send(text.slice(0, 500), { fin: false }),
    end: (socket, text) => socket.send(text.slice(500), { fin: true }),
  },
  'that is half written': {
    begin: (socket, text) => socket.send(text.slice(0, 500), { fin: false }),
    isWritten: true,
    end: (socket, text) => socket.send(text.slice(500), { fin: true }),
  },
  'that is written': { begin: (socket, text) => socket.send(text), isWritten: true },
};

// `ws` compressed the owner's messages with its own context: the client's window then ended with bytes that the history
// did not know, and `ws` referred to a window that the client no longer had. 295 of 300 messages were wrong, without
// any error.
test('the owner of a socket may send on it, compressed, between broadcasts', async () => {
  const room = await Room.open();
  const [a, b] = [await room.member('a'), await room.member('b')];
  const texts = records(120);
  const raw = (index: number): boolean => index % 3 === 2;
  for (const [index, text] of texts.entries()) {
    if (!raw(index)) await room.broadcast(text);
    else await new Promise((resolve) => a.socket.send(text, resolve));
  }
  await expectMessages(a, texts);
  await expectMessages(
    b,
    texts.filter((_, index) => !raw(index)),
  );
  for (const [index, { isCompressed, reachBytes }] of a.client.tapped.entries()) {
    expect(isCompressed).toBe(true);
    // It starts with an empty window, and so does the next broadcast.
    if (raw(index) || index % 3 === 0) expect(reachBytes).toBe(0);
    else expect(reachBytes).toBeGreaterThan(0);
  }
});

test('the owner of a socket may send on it in fragments, uncompressed, and in the middle of a turn', async () => {
  const room = await Room.open();
  const a = await room.member('a');
  const expected: string[] = [];
  for (const [index, text] of records(60).entries()) {
    await room.broadcast(text);
    expected.push(text);
    if (index % 2 === 0) a.socket.send(text, { compress: false });
    else {
      a.socket.send(text.slice(0, 50), { fin: false });
      a.socket.send(text.slice(50, 60), { fin: false });
      a.socket.send(text.slice(60), { fin: true });
    }
    expected.push(text);
    a.socket.ping('between');
    await vi.waitUntil(() => a.client.inbox.length === expected.length, { interval: 1 });
  }
  await expectMessages(a, expected);
});

test.each(Object.entries(begun))(
  'the owner of a socket may have sent on it before it joins: a message %s',
  async (_, { begin, isWritten = false, end }) => {
    const room = await Room.open();
    const [veteran, a] = [await room.member('veteran'), await room.visitor('a')];
    for (const text of records(10)) await room.broadcast(text);
    // A context that `ws` relies on.
    for (const text of records(10)) await new Promise((resolve) => a.socket.send(text, resolve));
    const raw = records(20, 3).join();
    begin(a.socket, raw);
    if (isWritten) await vi.waitUntil(() => a.socket.bufferedAmount === 0, { interval: 1 });
    void room.pool.newConnection(a.connection);
    for (const text of records(3, 10)) void room.pool.broadcastMessage('default', text);
    await nextTurn();
    end?.(a.socket, raw);
    for (const text of records(3, 13)) await room.broadcast(text);
    await vi.waitUntil(() => a.connection.bufferedAmount === 0, { interval: 1 });
    await new Promise((resolve) => a.socket.send(raw, resolve));
    await room.broadcast(record(16));
    await vi.waitUntil(() => a.client.inbox.includes(record(16)), { interval: 1 });
    const received = (await a.client.settled()).map(({ message }) => message.toString());
    expect(received).toEqual(a.client.inbox);
    // No other message may start inside the owner's message: the broadcasts of that turn have failed for this member.
    expect(received.filter((text) => text.length < 200)).toEqual(
      end === undefined ? records(17) : [...records(10), ...records(4, 13)],
    );
    expect(received.filter((text) => text === raw)).toHaveLength(2);
    await expectMessages(veteran, records(17));
  },
);
