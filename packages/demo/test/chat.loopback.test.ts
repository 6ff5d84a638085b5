import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { ChatClient, start } from './support/chat-client.js';

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;

describe('joining', () => {
  test('a client gets an id of the server, the members and what the pool holds', async () => {
    const { url } = await start();
    const client = await ChatClient.connect(url, { namespace: 'lobby', name: '  Ada ' });
    const id: unknown = expect.stringMatching(UUID);
    expect(await client.next()).toEqual({
      type: 'welcome',
      id,
      members: [{ id, name: 'Ada' }],
      stats: expect.objectContaining({ connections: 1, namespaces: 1 }) as unknown,
    });
  });

  test('the others are told of who joins and who leaves', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    const bob = await ChatClient.join(url, 'Bob');
    expect(bob.members).toEqual([ada.view, bob.view]);
    expect(await ada.next()).toEqual({ type: 'joined', member: bob.view });
    bob.socket.close(1000);
    expect(await ada.next()).toEqual({ type: 'left', member: bob.view });
    expect(await ada.rest()).toEqual([]);
  });

  test('a client that vanishes without a close frame has left as well', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    const bob = await ChatClient.join(url, 'Bob');
    expect(await ada.next()).toMatchObject({ type: 'joined' });
    bob.socket.terminate();
    expect(await ada.next()).toEqual({ type: 'left', member: bob.view });
  });

  test('two members may have the same name and keep their own ids', async () => {
    const { url } = await start();
    const [first, second] = [await ChatClient.join(url, 'Ada'), await ChatClient.join(url, 'Ada')];
    expect(first.id).not.toBe(second.id);
    expect(second.members).toHaveLength(2);
  });

  test('a message sent before the welcome has come is not lost', async () => {
    const { url } = await start();
    const ada = await ChatClient.connect(url);
    ada.socket.send(JSON.stringify({ type: 'say', text: 'at once' }));
    expect(await ada.next()).toMatchObject({ type: 'welcome' });
    expect(await ada.next()).toMatchObject({ type: 'said', text: 'at once' });
  });

  test('statistics of the whole pool come by the clock', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    await ChatClient.join(url, 'Bob', 'elsewhere');
    await expect
      .poll(() => ada.nextStats(), { timeout: 10_000 })
      .toMatchObject({
        stats: { connections: 2, namespaces: 2 },
      });
  });
});

describe('talking', () => {
  test('to all reaches everybody in the namespace, the sender too', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    const bob = await ChatClient.join(url, 'Bob');
    await ada.next();
    ada.send({ type: 'say', text: 'hello' });
    const said = { type: 'said', from: ada.view, text: 'hello' };
    expect(await ada.next()).toEqual(said);
    expect(await bob.next()).toEqual(said);
  });

  test('to one reaches that one and the sender alone', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    const bob = await ChatClient.join(url, 'Bob');
    const eve = await ChatClient.join(url, 'Eve');
    await Promise.all([ada.next(), ada.next(), bob.next()]);
    ada.send({ type: 'say', text: 'psst', to: bob.id });
    const said = { type: 'said', from: ada.view, text: 'psst', to: bob.view };
    expect(await bob.next()).toEqual(said);
    expect(await ada.next()).toEqual(said);
    expect(await eve.rest()).toEqual([]);
  });

  test('to oneself comes once', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    ada.send({ type: 'say', text: 'note to self', to: ada.id });
    expect(await ada.next()).toMatchObject({ type: 'said', to: ada.view });
    expect(await ada.rest()).toEqual([]);
  });

  test('to somebody who has left is an error and goes to nobody', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    const bob = await ChatClient.join(url, 'Bob');
    const eve = await ChatClient.join(url, 'Eve');
    bob.socket.close();
    for (const type of ['joined', 'joined', 'left']) expect(await ada.next()).toMatchObject({ type });
    ada.send({ type: 'say', text: 'still there?', to: bob.id });
    expect(await ada.next()).toMatchObject({ type: 'error', code: 'NOT_HERE' });
    expect(await eve.next()).toMatchObject({ type: 'left' });
    expect(await eve.rest()).toEqual([]);
  });
});

test('nothing of one namespace reaches another, not even by id', async () => {
  const { url } = await start();
  const ada = await ChatClient.join(url, 'Ada', 'red');
  const bob = await ChatClient.join(url, 'Bob', 'blue');
  expect(bob.members).toEqual([bob.view]);
  bob.send({ type: 'say', text: 'to all' });
  bob.send({ type: 'say', text: 'to one', to: ada.id });
  // The broadcast comes behind the error: it is written at the end of the turn.
  const answers = [await bob.next(), await bob.next()].map(({ type }) => type);
  expect(answers.toSorted()).toEqual(['error', 'said']);
  bob.socket.close();
  await bob.closed;
  expect(await ada.rest()).toEqual([]);
});

describe('bad messages', () => {
  const say = (fields: object): string => JSON.stringify({ type: 'say', ...fields });

  test.each([
    ['no JSON', '{', 'Expected JSON'],
    ['empty', '', 'Expected JSON'],
    ['binary', Buffer.from(say({ text: 'x' })), 'Expected text but received binary'],
    ['null', 'null', 'message: Invalid type: Expected Object but received null'],
    ['an array', '[]', 'type: '],
    ['no type', '{}', 'type: '],
    ['an unknown type', '{"type":"shout"}', 'type: Invalid type: Expected "say" but received "shout"'],
    ['a type of the prototype', '{"type":"__proto__"}', 'type: '],
    ['a second join', JSON.stringify({ type: 'join', namespace: 'other', name: 'Bob' }), 'type: '],
    ['no text', say({}), 'text: '],
    ['a text that is none', say({ text: 1 }), 'text: Invalid type: Expected string but received 1'],
    ['a blank text', say({ text: ' ' }), 'text: '],
    ['a text too long', say({ text: 'x'.repeat(2_001) }), 'text: Invalid length: Expected <=2000'],
    ['an address that is none', say({ text: 'x', to: {} }), 'to: '],
    ['a field too many', say({ text: 'x', admin: true }), 'admin: '],
    ['a field for the prototype', '{"type":"say","text":"x","__proto__":{"to":"y"}}', '__proto__: '],
  ])('%s gets an error on that connection, which stays open', async (_, message, problem) => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    const bob = await ChatClient.join(url, 'Bob');
    await ada.next();
    bob.socket.send(message);
    expect(await bob.next()).toEqual({
      type: 'error',
      code: 'BAD_MESSAGE',
      message: expect.stringContaining(problem) as unknown,
    });
    bob.send({ type: 'say', text: 'still here' });
    expect(await bob.next()).toMatchObject({ type: 'said' });
    expect(await ada.next()).toMatchObject({ type: 'said', text: 'still here' });
  });

  test.each([
    ['nothing', {}, 'namespace: '],
    ['no name', { namespace: 'lobby' }, 'name: '],
    ['a blank name', { namespace: 'lobby', name: '\t' }, 'name: '],
    ['a long name', { namespace: 'lobby', name: 'x'.repeat(33) }, 'name: '],
    ['a long namespace', { namespace: 'x'.repeat(33), name: 'Ada' }, 'namespace: '],
    ['a control character', { namespace: 'lobby', name: 'A\u0000da' }, 'name: Expected visible'],
    ['a mark that reverses text', { namespace: 'lobby', name: 'A\u202eda' }, 'name: '],
    ['an id of its own', { namespace: 'lobby', name: 'Ada', id: 'root' }, 'id: '],
    ['a field of a long name', { namespace: 'lobby', name: 'Ada', ['é'.repeat(200)]: '' }, 'éééé'],
  ])('a client that comes with %s is closed with 1008 and the reason', async (_, query, problem) => {
    const { url, chat } = await start();
    const client = await ChatClient.connect(url, query);
    expect(await client.closed).toEqual({ code: 1008, reason: expect.stringContaining(problem) as unknown });
    expect(chat.stats()).toMatchObject({ connections: 0, namespaces: 0, errors: 0 });
  });

  test('a message that is too large closes that connection alone, with 1009', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    const bob = await ChatClient.join(url, 'Bob');
    bob.socket.send(say({ text: 'x'.repeat(16 * 1024) }));
    expect((await bob.closed).code).toBe(1009);
    expect(await ada.next()).toMatchObject({ type: 'joined' });
    expect(await ada.next()).toMatchObject({ type: 'left' });
    expect(await ada.rest()).toEqual([]);
  });

  test('frames against the protocol end that connection alone', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    const bob = await ChatClient.join(url, 'Bob');
    const raw = (bob.socket as unknown as { _socket: { write(bytes: Buffer): void } })._socket;
    // Reserved opcode 3.
    raw.write(Buffer.from([0x83, 0x80, 0, 0, 0, 0]));
    await once(bob.socket, 'close');
    expect(await ada.next()).toMatchObject({ type: 'joined' });
    expect(await ada.next()).toMatchObject({ type: 'left' });
    expect(await ada.rest()).toEqual([]);
  });

  test.each(['__proto__', 'constructor', 'hasOwnProperty', '<script>', '../../etc', '名前 🙂'])(
    '%s is a namespace, a name and an unknown id like any other',
    async (hostile) => {
      const { url, chat } = await start();
      const ada = await ChatClient.join(url, hostile, hostile);
      expect(ada.view?.name).toBe(hostile);
      expect([...chat.connections.keys()]).toEqual([hostile]);
      ada.send({ type: 'say', text: hostile });
      expect(await ada.next()).toMatchObject({ type: 'said', text: hostile });
      ada.send({ type: 'say', text: 'x', to: hostile });
      expect(await ada.next()).toMatchObject({ type: 'error', code: 'NOT_HERE' });
    },
  );
});
