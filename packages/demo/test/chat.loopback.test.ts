import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { ChatClient, start } from './support/chat-client.js';

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;

describe('coming', () => {
  test('a client is told its id, which the server makes, its name and its node', async () => {
    const { url } = await start({ nodeName: 'node 7' });
    const client = await ChatClient.connect(url, { namespace: 'lobby', name: '  Ada ' });
    const id: unknown = expect.stringMatching(UUID);
    expect(await client.next()).toEqual({ type: 'welcome', id, name: 'Ada', node: 'node 7' });
  });

  test('the members of a room are told of a user who enters it and of one who leaves the server', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    const bob = await ChatClient.join(url, 'Bob');
    expect(bob.members('general')).toEqual({ Ada: 1, Bob: 1 });
    expect(await ada.sees('general', ({ Bob }) => Bob === 1)).toEqual({ Ada: 1, Bob: 1 });
    bob.socket.close(1000);
    expect(await ada.sees('general', ({ Bob }) => Bob === undefined)).toEqual({ Ada: 1 });
    expect(await ada.rest()).toEqual([]);
  });

  test('the members of a room are told of a user who leaves the room and stays connected', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    const bob = await ChatClient.join(url, 'Bob');
    bob.send({ type: 'leave', room: 'general' });
    expect(await ada.sees('general', ({ Bob }) => Bob === undefined)).toEqual({ Ada: 1 });
    ada.send({ type: 'say', room: 'general', text: 'gone?' });
    expect(await ada.next()).toMatchObject({ type: 'said' });
    expect(await bob.rest()).toEqual([]);
  });

  test.each(['👩🏽‍🚀', '❤️‍🔥', 'אדה', 'علی', 'Łódź', '愛'])('%s is a name', async (name) => {
    const { url } = await start();
    expect((await ChatClient.join(url, name)).members('general')).toEqual({ [name]: 1 });
  });

  test('two spellings of a name that look the same are one user', async () => {
    const { url } = await start();
    const first = await ChatClient.join(url, 'Zo\u00eb');
    await ChatClient.join(url, 'Zoe\u0308');
    expect(await first.sees('general', ({ Zoë }) => Zoë === 2)).toEqual({ 'Zo\u00eb': 2 });
  });

  test('a client that vanishes without a close frame has left as well', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    const bob = await ChatClient.join(url, 'Bob');
    bob.socket.terminate();
    expect(await ada.sees('general', ({ Bob }) => Bob === undefined)).toEqual({ Ada: 1 });
  });

  test('two clients with the same name keep their own ids, and are one user with two tabs', async () => {
    const { url, chat } = await start();
    const first = await ChatClient.join(url, 'Ada');
    await ChatClient.join(url, 'Ada');
    expect(await first.sees('general', ({ Ada }) => Ada === 2)).toEqual({ Ada: 2 });
    expect(chat.namespace('lobby').size).toBe(2);
  });

  test('a message sent before the welcome has come is not lost', async () => {
    const { url } = await start();
    const ada = await ChatClient.connect(url);
    ada.send({ type: 'join', room: 'general' });
    ada.send({ type: 'say', room: 'general', text: 'at once' });
    expect(await ada.next()).toMatchObject({ type: 'welcome' });
    expect(await ada.next()).toMatchObject({ type: 'said', text: 'at once' });
  });

  test('the eleventh tab of a user is closed with 4429', async () => {
    const { url } = await start();
    for (let tab = 0; tab < 10; tab++) await ChatClient.connect(url);
    const { closed } = await ChatClient.connect(url);
    expect(await closed).toEqual({ code: 4429, reason: 'Too Many Requests' });
    const other = await ChatClient.connect(url, { namespace: 'lobby', name: 'Bob' });
    expect(await other.next()).toMatchObject({ type: 'welcome' });
  });
});

describe('talking', () => {
  test('a message in a room reaches everybody in it, including the sender, and nobody else', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    const bob = await ChatClient.join(url, 'Bob');
    const eve = await ChatClient.join(url, 'Eve', 'lobby', 'random');
    ada.send({ type: 'say', room: 'general', text: 'hello' });
    const said = { type: 'said', room: 'general', from: 'Ada', text: 'hello' };
    expect(await ada.next()).toEqual(said);
    expect(await bob.next()).toEqual(said);
    expect(await eve.rest()).toEqual([]);
  });

  test('a user who is not in a room can neither talk nor type there', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    const eve = await ChatClient.join(url, 'Eve', 'lobby', 'random');
    eve.send({ type: 'say', room: 'general', text: 'hello' });
    eve.send({ type: 'typing', room: 'general' });
    expect(await eve.next()).toMatchObject({ type: 'error', code: 'NOT_HERE' });
    expect(await eve.next()).toMatchObject({ type: 'error', code: 'NOT_HERE' });
    expect(await ada.rest()).toEqual([]);
  });

  test('a client cannot enter the room of a user', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    const bob = await ChatClient.join(url, 'Bob');
    const eve = await ChatClient.join(url, 'Eve', 'lobby', 'user:Bob');
    ada.send({ type: 'whisper', to: 'Bob', text: 'psst' });
    expect(await bob.next()).toMatchObject({ type: 'whispered' });
    expect(await eve.rest()).toEqual([]);
  });

  test('a private message reaches all tabs of both users alone', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    const bobs = [await ChatClient.join(url, 'Bob'), await ChatClient.join(url, 'Bob')];
    const eve = await ChatClient.join(url, 'Eve');
    ada.send({ type: 'whisper', to: 'Bob', text: 'psst' });
    const whispered = { type: 'whispered', from: 'Ada', to: 'Bob', text: 'psst' };
    for (const client of [ada, ...bobs]) expect(await client.next()).toEqual(whispered);
    expect(await eve.rest()).toEqual([]);
  });

  test('a private message to oneself comes once', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    ada.send({ type: 'whisper', to: 'Ada', text: 'note to self' });
    expect(await ada.next()).toMatchObject({ type: 'whispered', to: 'Ada' });
    expect(await ada.rest()).toEqual([]);
  });

  test('a private message to somebody who has left is an error and goes to nobody', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    const bob = await ChatClient.join(url, 'Bob');
    const eve = await ChatClient.join(url, 'Eve');
    bob.socket.close();
    await ada.sees('general', ({ Bob }) => Bob === undefined);
    ada.send({ type: 'whisper', to: 'Bob', text: 'still there?' });
    expect(await ada.next()).toMatchObject({ type: 'error', code: 'NOT_HERE' });
    expect(await eve.rest()).toEqual([]);
  });

  test('the others in a room see who is typing, and the tabs of that user do not', async () => {
    const { url } = await start();
    const adas = [await ChatClient.join(url, 'Ada'), await ChatClient.join(url, 'Ada')] as const;
    const bob = await ChatClient.join(url, 'Bob');
    adas[0].send({ type: 'typing', room: 'general' });
    expect(await bob.next()).toEqual({ type: 'typing', room: 'general', user: 'Ada' });
    for (const ada of adas) expect(await ada.rest()).toEqual([]);
  });

  test('a user may be in ten rooms', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada', 'lobby', 'room 1');
    for (let room = 2; room <= 11; room++) ada.send({ type: 'join', room: `room ${room}` });
    expect(await ada.next()).toMatchObject({ type: 'error', code: 'TOO_MANY_ROOMS' });
    ada.send({ type: 'join', room: 'room 1' });
    ada.send({ type: 'leave', room: 'room 1' });
    ada.send({ type: 'join', room: 'room 11' });
    expect(await ada.sees('room 11', () => true)).toEqual({ Ada: 1 });
    expect(await ada.rest()).toEqual([]);
  });
});

describe('kicks', () => {
  test('a kick closes all tabs of the user with 1008 and the reason, and nobody else', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    const bobs = [await ChatClient.join(url, 'Bob'), await ChatClient.join(url, 'Bob')];
    ada.send({ type: 'kick', user: 'Bob' });
    for (const { closed } of bobs) expect(await closed).toEqual({ code: 1008, reason: 'Kicked by Ada' });
    expect(await ada.sees('general', ({ Bob }) => Bob === undefined)).toEqual({ Ada: 1 });
  });

  test('a kick of somebody who is not here is an error', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    const bob = await ChatClient.join(url, 'Bob', 'elsewhere');
    ada.send({ type: 'kick', user: 'Bob' });
    expect(await ada.next()).toMatchObject({ type: 'error', code: 'NOT_HERE' });
    expect(await bob.rest()).toEqual([]);
  });

  test('a client that floods the server is closed with 1008', async () => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    for (let message = 0; message < 200; message++) ada.send({ type: 'typing', room: 'general' });
    expect((await ada.closed).code).toBe(1008);
  });
});

test('no message of one namespace reaches another, not even a private one by name', async () => {
  const { url } = await start();
  const ada = await ChatClient.join(url, 'Ada', 'red');
  const bob = await ChatClient.join(url, 'Bob', 'blue');
  expect(bob.members('general')).toEqual({ Bob: 1 });
  bob.send({ type: 'say', room: 'general', text: 'to all' });
  bob.send({ type: 'whisper', to: 'Ada', text: 'to one' });
  const answers = [await bob.next(), await bob.next()].map(({ type }) => type);
  expect(answers.toSorted()).toEqual(['error', 'said']);
  bob.socket.close();
  await bob.closed;
  expect(await ada.rest()).toEqual([]);
});

describe('bad messages', () => {
  const say = (fields: object): string => JSON.stringify({ type: 'say', room: 'general', ...fields });

  test.each([
    ['no JSON', '{', 'Expected JSON'],
    ['empty', '', 'Expected JSON'],
    ['binary', Buffer.from(say({ text: 'x' })), 'Expected text but received binary'],
    ['null', 'null', 'message: Invalid type: Expected Object but received null'],
    ['an array', '[]', 'type: '],
    ['no type', '{}', 'type: '],
    ['an unknown type', '{"type":"shout"}', 'type: Invalid type: Expected ('],
    ['a type of the prototype', '{"type":"__proto__"}', 'type: '],
    ['no text', say({}), 'text: '],
    ['a number for a text', say({ text: 1 }), 'text: Invalid type: Expected string but received 1'],
    ['a blank text', say({ text: ' ' }), 'text: '],
    ['a text that is too long', say({ text: 'x'.repeat(2_001) }), 'text: Invalid length: Expected <=2000'],
    ['an object for a room', say({ text: 'x', room: {} }), 'room: '],
    ['an object for a user', '{"type":"kick","user":{}}', 'user: '],
    ['a room of 10,000 characters', JSON.stringify({ type: 'join', room: 'x'.repeat(10_000) }), 'room: '],
    ['a field too many', say({ text: 'x', admin: true }), 'admin: '],
    [
      'a field for the prototype',
      '{"type":"say","room":"general","text":"x","__proto__":{"to":"y"}}',
      '__proto__: ',
    ],
  ])('%s gets an error on that connection, which stays open', async (_, message, problem) => {
    const { url } = await start();
    const ada = await ChatClient.join(url, 'Ada');
    const bob = await ChatClient.join(url, 'Bob');
    bob.socket.send(message);
    expect(await bob.next()).toEqual({
      type: 'error',
      code: 'BAD_MESSAGE',
      message: expect.stringContaining(problem) as unknown,
    });
    bob.send({ type: 'say', room: 'general', text: 'still here' });
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
    ['a name that nobody sees', { namespace: 'lobby', name: '\u200b' }, 'name: Expected visible'],
    ['a filler instead of a name', { namespace: 'lobby', name: '\u3164' }, 'name: Expected visible'],
    ['a name that looks like another', { namespace: 'lobby', name: 'A\u00adda' }, 'name: Expected visible'],
    ['a joiner that joins nothing', { namespace: 'lobby', name: 'Ada\u200d' }, 'name: Expected visible'],
    ['a second line', { namespace: 'lobby', name: 'A\u2028da' }, 'name: Expected visible'],
    ['an id of its own', { namespace: 'lobby', name: 'Ada', id: 'root' }, 'id: '],
    ['a field of a long name', { namespace: 'lobby', name: 'Ada', ['é'.repeat(200)]: '' }, 'éééé'],
  ])('a client that connects with %s is closed with 1008 and the reason', async (_, query, problem) => {
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
    expect(await ada.sees('general', ({ Bob }) => Bob === undefined)).toEqual({ Ada: 1 });
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
    expect(await ada.sees('general', ({ Bob }) => Bob === undefined)).toEqual({ Ada: 1 });
    expect(await ada.rest()).toEqual([]);
  });

  test.each([
    '__proto__',
    'constructor',
    'hasOwnProperty',
    '<script>',
    '../../etc',
    '名前 🙂',
    'user:Ada',
    '["a","b"]',
  ])('%s is a namespace, a name, a room and an unknown user like any other', async (hostile) => {
    const { url, chat } = await start();
    const ada = await ChatClient.join(url, hostile, hostile, hostile);
    expect(ada.name).toBe(hostile);
    expect([...chat.connections.keys()]).toEqual([hostile]);
    ada.send({ type: 'say', room: hostile, text: hostile });
    expect(await ada.next()).toMatchObject({ type: 'said', from: hostile, text: hostile });
    ada.send({ type: 'whisper', to: `${hostile}2`, text: 'x' });
    expect(await ada.next()).toMatchObject({ type: 'error', code: 'NOT_HERE' });
  });
});
